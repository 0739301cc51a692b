#include "train/gradient_noise.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace switchyard {

void GradientNoise::add(double norm_few, int64_t few, double norm_many, int64_t many) {
  const double a = norm_few * norm_few, b = norm_many * norm_many;
  if (!std::isfinite(a) || !std::isfinite(b) || few >= many) return;
  //@begin noise
  const double m = double(few), n = double(many);
  const double squared_norm = (n * b - m * a) / (n - m);
  const double trace = (a - b) / (1 / m - 1 / n);
  //@end noise
  constexpr double kept = 0.99;  // a single step's estimate is itself mostly noise
  squared_norm_ = kept * squared_norm_ + (1 - kept) * squared_norm;
  trace_ = kept * trace_ + (1 - kept) * trace;
  weight_ = kept * weight_ + (1 - kept);
}

double GradientNoise::scale() const {
  return weight_ > 0 && squared_norm_ > 0 && trace_ > 0 ? trace_ / squared_norm_ : 0;
}

nlohmann::json GradientNoise::state() const { return {squared_norm_, trace_, weight_}; }

void GradientNoise::restore(const nlohmann::json& state) {
  if (state.size() == 3) squared_norm_ = state[0], trace_ = state[1], weight_ = state[2];
}

}  // namespace switchyard
