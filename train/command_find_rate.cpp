// ./run find-rate: which learning rate to train with.
#include <algorithm>
#include <chrono>

#include "train/command_flags.h"
#include "train/commands.h"
#include "train/find_rate.h"

namespace switchyard {
namespace {

// Flags of ./run train that mean nothing where the rate rises and nothing is kept.
constexpr std::string_view without[] = {"steps",       "rate",      "final-rate",      "warmup",      "schedule",
                                        "decay-share", "log-every", "eval-every",      "eval-tokens", "sample-every",
                                        "on-spike",    "spike",     "checkpoint-every"};

struct FindRateFlags {
  RunConfig config;
  RateSearch search;
  std::string csv;
  Common common;
};

FindRateFlags read_flags(int argc, char** argv) {
  FindRateFlags f;
  const Preset& preset = find_preset(early_flag(argc, argv, "--preset").value_or("demo"));
  f.config.model = preset.model, f.config.train = preset.train;
  CLI::App app(
      "Raises the learning rate step by step, from new weights, and says which one to train with. Takes the flags of "
      "./run train that decide the model, the text and the batch; leaves no folder behind.");
  std::string same_preset;
  std::vector<std::string> data;
  bool dense = false;
  Where place;
  app.add_option("--from", f.search.from, "the first rate (default 1e-5)");
  app.add_option("--to", f.search.to, "the last rate (default 1)");
  app.add_option("--steps", f.search.steps, "steps between them, at least 10 (default 100)");
  add_text_flag(app, "--csv", f.csv, "write every step to this file: rate, loss, smooth loss");
  add_text_flag(app, "--preset", same_preset, "where the flags below start from");
  app.add_option("--data", data, "text files, UTF-8 or binary; default: the built-in corpus");
  app.add_flag("--dense-twin", dense, "the dense model with the same active parameters instead");
  add_common(app, f.common);
  add_flags(app, place);
  add_flags(app, f.config.model);
  std::vector<Field> fields = list_fields(f.config.train);
  std::erase_if(fields, [](const Field& field) {
    return std::find(std::begin(without), std::end(without), field.name) != std::end(without);
  });
  add_flags(app, std::span<const Field>(fields));
  parse_flags(app, argc, argv);
  apply(f.common);
  f.config.device = placed(place.device);
  f.config.source.files.assign(data.begin(), data.end());
  if (dense) f.config.model = dense_twin(f.config.model);
  validate(f.config.model);
  check_trainable(f.config);
  return f;
}

// A line on standard error, at most each second: how far, how fast, how long still.
class Progress {
 public:
  explicit Progress(int64_t steps) : steps_(steps) {}
  void operator()(const RatePoint& point) {
    ++done_;
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    if (seconds < next_ && done_ < steps_) return;
    next_ = seconds + 1;
    const double each = seconds / double(done_);
    fmt::print(stderr, "step {}/{}  rate {:.2e}  loss {:.3f}  {:.2f} s a step  {:.0f} s left\n", done_, steps_,
               point.rate, point.smooth, each, each * double(steps_ - done_));
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  int64_t steps_, done_ = 0;
  double next_ = 1;
};

void print_finding(const RateFinding& f) {
  fmt::print("{:>10}{:>9}{:>9}\n", "rate", "loss", "smooth");
  const size_t every = std::max<size_t>(1, (f.points.size() + 19) / 20);
  for (size_t i = every - 1; i < f.points.size(); i += every)
    fmt::print("{:10.2e}{:9.3f}{:9.3f}\n", f.points[i].rate, f.points[i].loss, f.points[i].smooth);
  fmt::print("\n{}\n", plot(f, 60, 12));
  if (f.diverged) fmt::print("the loss diverged at {:.1e}, and the search ended\n", f.points.back().rate);
  if (f.lowest == 0) {
    fmt::print("the loss did not fall: try a lower --from, or more --steps\n");
    return;
  }
  if (f.lowest == f.points.back().rate) fmt::print("the loss still fell at the last rate: try a higher --to\n");
  fmt::print("lowest at {:.1e}, falls fastest at {:.1e}\n", f.lowest, f.steepest);
  fmt::print("try --rate {:.1e}, a tenth of where the loss is lowest\n", f.recommended());
}

nlohmann::json as_json(const RateFinding& f) {
  nlohmann::json json{{"diverged", f.diverged}, {"points", nlohmann::json::array()}};
  for (const RatePoint& p : f.points)
    json["points"].push_back({{"rate", p.rate}, {"loss", p.loss}, {"smooth", p.smooth}});
  for (const auto& [key, rate] :
       {std::pair("lowest", f.lowest), {"steepest", f.steepest}, {"recommended", f.recommended()}})
    json[key] = rate == 0 ? nlohmann::json(nullptr) : nlohmann::json(rate);
  return json;
}

}  // namespace

int run_find_rate(int argc, char** argv) {
  const std::atomic<bool>& stop = interruptible();
  const FindRateFlags flags = read_flags(argc, argv);
  check_output(flags.csv);
  Progress progress(flags.search.steps);
  const RateFinding finding = find_rate(flags.config, flags.search, stop, std::ref(progress));
  if (stop) fmt::print(stderr, "stopped after {} steps: what follows is of these alone\n", finding.points.size());
  if (stop && finding.points.empty()) return 130;
  check(!finding.points.empty(), "the first loss is no number, or there was none; try a lower --from");
  if (!flags.csv.empty()) {
    std::string csv = "rate,loss,smooth\n";
    for (const RatePoint& p : finding.points) csv += fmt::format("{},{},{}\n", p.rate, p.loss, p.smooth);
    write_file(flags.csv, csv);
  }
  if (flags.common.json)
    fmt::print("{}\n", as_json(finding).dump());
  else
    print_finding(finding);
  return stop ? 130 : 0;
}

}  // namespace switchyard
