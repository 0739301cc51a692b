#include "train/find_rate.h"

#include <stdlib.h>

#include <algorithm>
#include <cmath>

#include "moe/balance.h"
#include "train/trainer.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr double kept = 0.9;      // of the smooth loss at each step
constexpr double too_high = 4.0;  // times the lowest loss: there is nothing to be learnt from higher rates

// For the text's tokens; gone at the end.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "switchyard-rate-XXXXXX").string();
    check(mkdtemp(name.data()) != nullptr, "{}: cannot be made", name);
    path = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// A step of the run at a rate of the caller's; the mean cross-entropy before the weights move.
double step(Trainer& trainer, double rate) {
  const TrainConfig& c = trainer.config().train;
  const int64_t first = trainer.optimizer().steps() * c.accumulate;
  double loss = 0;
  std::vector<std::vector<int64_t>> load;
  for (int64_t i = 0; i < c.accumulate; ++i) {
    const Trainer::Forward f = trainer.forward(first + i, c.batch);
    backward(f.total);
    loss += f.loss.value().item() / double(c.accumulate);
    load.resize(f.result.routes.size());
    for (size_t layer = 0; layer < load.size(); ++layer) {
      const Route& route = f.result.routes[layer];
      const std::vector<int64_t> seen = statistics(route.plan, route.probability).load;
      load[layer].resize(seen.size());
      for (size_t e = 0; e < seen.size(); ++e) load[layer][e] += seen[e];
    }
  }
  trainer.optimizer().step(rate, c.accumulate);
  trainer.model().after_step(load);
  return loss;
}

}  // namespace

RateFinding find_rate(const RunConfig& config, const RateSearch& search, const std::atomic<bool>& stop,
                      const std::function<void(const RatePoint&)>& each) {
  check(search.from >= 1e-12 && search.from < search.to && search.to <= 100,
        "--from {} --to {}: must be 1e-12 to 100, the second the higher", search.from, search.to);
  check(search.steps >= 10, "--steps {}: must be at least 10", search.steps);
  const TemporaryFolder folder;
  RunConfig here = config;
  here.out = folder.path / "run";
  Trainer trainer(std::move(here), false);
  std::vector<RatePoint> points;
  double sum = 0, weight = 0, lowest = 0;
  for (int64_t i = 0; i < search.steps && !stop; ++i) {
    //@begin rising
    const double share = double(i) / double(search.steps - 1);
    const double rate = search.from * std::pow(search.to / search.from, share);
    const double loss = step(trainer, rate);
    sum = kept * sum + loss, weight = kept * weight + 1;
    //@end rising
    if (!std::isfinite(loss)) return judged(std::move(points), true);
    points.push_back({rate, loss, sum / weight});
    if (each) each(points.back());
    lowest = i == 0 ? sum / weight : std::min(lowest, sum / weight);
    if (sum / weight > too_high * lowest) return judged(std::move(points), true);
  }
  return judged(std::move(points), false);
}

RateFinding judged(std::vector<RatePoint> points, bool diverged) {
  RateFinding finding{.points = std::move(points), .diverged = diverged};
  const std::vector<RatePoint>& p = finding.points;
  const auto lowest =
      std::min_element(p.begin(), p.end(), [](const RatePoint& a, const RatePoint& b) { return a.smooth < b.smooth; });
  if (lowest == p.end() || lowest == p.begin()) return finding;
  finding.lowest = lowest->rate;
  double steepest = 0;
  for (auto next = p.begin() + 1; next <= lowest; ++next) {
    const double slope = (next->smooth - (next - 1)->smooth) / std::log(next->rate / (next - 1)->rate);
    if (slope < steepest) steepest = slope, finding.steepest = next->rate;
  }
  return finding;
}

std::string plot(const RateFinding& finding, int width, int height) {
  const std::vector<RatePoint>& p = finding.points;
  if (p.size() < 2) return "";
  double low = p[0].smooth, high = low;
  for (const RatePoint& point : p) low = std::min(low, point.smooth), high = std::max(high, point.smooth);
  const double fall = p[0].smooth - low;
  high = std::min(high, p[0].smooth + (fall > 0 ? fall : 0.1 * p[0].smooth));
  if (high <= low) return "";
  const double decades = std::log(p.back().rate / p[0].rate);
  std::vector<std::string> lines(static_cast<size_t>(height), std::string(static_cast<size_t>(width), ' '));
  for (const RatePoint& point : p) {
    const double up = (point.smooth - low) / (high - low), along = std::log(point.rate / p[0].rate) / decades;
    if (up > 1) continue;
    const auto line = static_cast<size_t>(std::lround((1 - up) * (height - 1)));
    lines[line][static_cast<size_t>(std::lround(along * (width - 1)))] = '*';
  }
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool labelled = i == 0 || i + 1 == lines.size();
    text += labelled ? fmt::format("{:8.3f} |", i == 0 ? high : low) : std::string(9, ' ') + "|";
    text += lines[i].substr(0, lines[i].find_last_not_of(' ') + 1) + "\n";
  }
  const std::string first = fmt::format("{:.1e}", p[0].rate), last = fmt::format("{:.1e}", p.back().rate);
  return text + std::string(9, ' ') + "+" + std::string(static_cast<size_t>(width), '-') + "\n" +
         fmt::format("{:9} {}{:>{}}\n", "", first, last, width - static_cast<int>(first.size()));
}

}  // namespace switchyard
