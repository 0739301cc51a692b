#include "train/spikes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

constexpr size_t window = 128, fewest = 32;  // fewer say nothing of what is usual
constexpr double least = 0.1;                // nats

std::string far_above(double loss, double mean, double deviation, size_t steps) {
  return fmt::format("the loss is {:.4g}, {:.1f} standard deviations above the mean {:.4g} of {} steps", loss,
                     (loss - mean) / deviation, mean, steps);
}

}  // namespace

std::optional<std::string> SpikeWatch::judge(double loss, double gradient_norm) {
  const auto is = [](double x) { return std::isnan(x) ? "is not a number" : "is infinite"; };
  if (!std::isfinite(loss)) return fmt::format("the loss {}", is(loss));
  if (!std::isfinite(gradient_norm)) return fmt::format("the gradient's norm {}", is(gradient_norm));
  //@begin judge
  if (const double n = double(recent_.size()); n >= fewest) {
    double mean = 0, variance = 0;
    for (double x : recent_) mean += x / n;
    for (double x : recent_) variance += (x - mean) * (x - mean) / (n - 1);
    const double deviation = std::sqrt(variance);
    const double bound = mean + std::max(deviations_ * deviation, least);
    if (loss > bound) return far_above(loss, mean, deviation, recent_.size());
  }
  keep(loss);
  //@end judge
  return std::nullopt;
}

void SpikeWatch::keep(double loss) {
  if (!std::isfinite(loss)) return;
  if (recent_.size() == window) recent_.erase(recent_.begin());
  recent_.push_back(loss);
}

nlohmann::json SpikeWatch::state() const { return recent_; }

void SpikeWatch::restore(const nlohmann::json& state) {
  if (state.is_array()) recent_ = state.get<std::vector<double>>();
}

}  // namespace switchyard
