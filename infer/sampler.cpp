#include "infer/sampler.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace switchyard {
namespace {

// The logits in f64, those of tokens in `history` divided by r where positive, else multiplied by it. A token that
// occurs again is computed again from its logit, so that it is penalised once.
std::vector<double> penalised(std::span<const float> logits, std::span<const int32_t> history, double r) {
  std::vector<double> scores(logits.begin(), logits.end());
  for (size_t i = 0; i < scores.size(); ++i)
    check(!std::isnan(scores[i]) && scores[i] < HUGE_VAL, "logit {} is {}: must be a number", i, scores[i]);
  const auto V = static_cast<int64_t>(scores.size());
  for (int32_t token : history) {
    check(0 <= token && token < V, "token {} in the history: must be 0 to {}", token, V - 1);
    const double logit = logits[token];
    //@begin penalty
    scores[token] = logit > 0 ? logit / r : logit * r;
    //@end penalty
  }
  return scores;
}

}  // namespace

Sampler::Sampler(SamplerConfig config) : config_(config), random_{{config.seed, sampler_stream}} {
  const auto in_range = [](const char* name, auto value, auto lowest, auto highest) {
    check(lowest <= value && value <= highest, "--{} {}: must be {} to {}", name, value, lowest, highest);
  };
  visit(config_, [&](const char* name, auto& field, auto lowest, auto highest, const char*) {
    if constexpr (requires { field.has_value(); }) {
      if (field) in_range(name, *field, lowest, highest);
    } else {
      in_range(name, field, lowest, highest);
    }
  });
}

std::vector<double> Sampler::distribution(std::span<const float> logits, std::span<const int32_t> history) const {
  check(!logits.empty(), "no logits to sample from");
  std::vector<double> scores = penalised(logits, history, config_.repetition_penalty);
  const auto best = std::max_element(scores.begin(), scores.end());  // the first of equals
  const double highest = *best;
  check(highest > -HUGE_VAL, "all {} logits are -inf: no token is possible", scores.size());
  std::vector<double> probability(scores.size(), 0.0);
  if (config_.temperature == 0) {
    probability[best - scores.begin()] = 1;
    return probability;
  }

  // The softmax before its division: exp((score - highest) / temperature), so that the likeliest token has weight 1.
  std::vector<double> weight(scores.size());
  std::vector<int32_t> kept;  // the tokens that may be drawn
  for (size_t i = 0; i < scores.size(); ++i) {
    weight[i] = std::exp((scores[i] - highest) / config_.temperature);
    if (weight[i] > 0) kept.push_back(static_cast<int32_t>(i));
  }
  const auto before = [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; };
  if (config_.top_k && static_cast<size_t>(*config_.top_k) < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + *config_.top_k, kept.end(), before);
    kept.resize(*config_.top_k);
  }
  if (config_.top_p < 1) {  // a heap, for the likeliest few are usually enough and the rest need no order
    const auto after = [&](int32_t a, int32_t b) { return before(b, a); };
    double total = 0, mass = 0;
    for (int32_t token : kept) total += weight[token];
    std::make_heap(kept.begin(), kept.end(), after);
    auto end = kept.end();  // those taken out stand from here on
    //@begin top-p
    do {
      mass += weight[kept.front()];
      std::pop_heap(kept.begin(), end--, after);
    } while (end != kept.begin() && mass < config_.top_p * total);
    //@end top-p
    kept.erase(kept.begin(), end);
  }
  std::erase_if(kept, [&](int32_t token) { return weight[token] < config_.min_p; });

  double total = 0;
  for (int32_t token : kept) total += weight[token];
  for (int32_t token : kept) probability[token] = weight[token] / total;
  return probability;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  const std::vector<double> probability = distribution(logits, history);
  const double u = static_cast<double>(random_.below(int64_t{1} << 53)) * 0x1p-53;  // uniform in [0, 1)
  double cumulative = 0;
  int32_t chosen = 0;
  for (size_t i = 0; i < probability.size() && cumulative <= u; ++i) {
    if (probability[i] == 0) continue;
    cumulative += probability[i];
    chosen = static_cast<int32_t>(i);  // where rounding leaves the sum below u, the last possible token
  }
  return chosen;
}

}  // namespace switchyard
