// ./run replay: a training step, looked at from within.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "train/command_flags.h"
#include "train/commands.h"
#include "train/replay.h"

namespace switchyard {
namespace {

constexpr size_t shown = 5;

double plain(double x) { return std::isnan(x) ? std::abs(x) : x; }  // a NaN's sign says nothing

void print(const Replay& r) {
  fmt::print("step {}: loss {}, gradient norm {:.6g}\n", r.step, plain(r.loss), plain(r.gradient_norm));
  fmt::print("{}\n\n", r.culprit.empty() ? "every number of it is finite" : "first gone wrong: " + r.culprit);
  fmt::print("{:<40}{:>16}{:>10}{:>18}\n", "largest gradients", "norm", "share", "largest weight");
  for (size_t i = 0; i < std::min(shown, r.shares.size()); ++i) {
    const Replay::Share& s = r.shares[i];
    const double share = plain(s.norm * s.norm / (r.gradient_norm * r.gradient_norm));
    fmt::print("{:<40}{:>16.4g}{:>8.1f} %{:>18.4g}\n", s.parameter, plain(s.norm), 100 * share, s.largest_weight);
  }
  fmt::print("\nsequences that cost most, nats per token\n");
  for (size_t i = 0; i < std::min(shown, r.sequences.size()); ++i) {
    std::string text = printable(r.sequences[i].text).substr(0, 400);
    std::replace(text.begin(), text.end(), '\n', ' ');
    fmt::print("{:>8.3f}  {}\n", plain(r.sequences[i].loss), printable(text.substr(0, 66)));
  }
}

}  // namespace

int run_replay(int argc, char** argv) {
  CLI::App app("Computes the step that follows a checkpoint, such as RUN/spike, and says where it went wrong.");
  Common common;
  std::string dir;
  app.add_option("run", dir, "a run's folder, or the snapshot in it")->required();
  Where place;
  add_common(app, common);
  add_flags(app, place);
  parse_flags(app, argc, argv);
  apply(common);
  RunConfig config = load_run(dir);
  config.device = placed(place.device);
  Trainer trainer(std::move(config), true);
  const Replay r = replay(trainer);
  if (!common.json) {
    print(r);
    return 0;
  }
  nlohmann::json json{{"step", r.step}, {"loss", r.loss}, {"gradient_norm", r.gradient_norm}, {"culprit", r.culprit}};
  for (const Replay::Share& s : r.shares) json["norms"][s.parameter] = s.norm;
  fmt::print("{}\n", json.dump());
  return 0;
}

}  // namespace switchyard
