#include "moe/balance.h"

#include <algorithm>
#include <cmath>

namespace switchyard {
namespace {

// (T): 1 / valid tokens, 0 for padding.
Tensor token_weights(int64_t T, std::span<const uint8_t> valid, Dtype dtype) {
  check(valid.empty() || static_cast<int64_t>(valid.size()) == T, "valid has {} entries for {} tokens", valid.size(),
        T);
  const int64_t n = valid.empty() ? T : std::count_if(valid.begin(), valid.end(), [](uint8_t v) { return v != 0; });
  std::vector<double> weights(static_cast<size_t>(T), n ? 1.0 / double(n) : 0.0);
  for (size_t t = 0; t < valid.size(); ++t)
    if (!valid[t]) weights[t] = 0;
  return Tensor::from(weights, {T}, dtype);
}

}  // namespace

Tensor proposing_tokens(int64_t T, int64_t k) {
  Tensor token({T * k}, Dtype::i32);
  for (int64_t i = 0; i < T * k; ++i) token.data<int32_t>()[i] = static_cast<int32_t>(i / k);
  return token;
}

Tensor masked(const Tensor& choice, std::span<const uint8_t> valid) {
  if (valid.empty()) return choice;
  Tensor result = choice.clone();
  const int64_t k = choice.cols();
  for (int64_t t = 0; t < choice.rows(); ++t)
    if (!valid[static_cast<size_t>(t)]) std::fill_n(result.data<int32_t>() + t * k, k, -1);
  return result;
}

Var balance_loss(const Var& probability, const Tensor& expert, std::span<const uint8_t> valid) {
  const int64_t T = probability.shape()[0], E = probability.shape()[1];
  const Dtype dtype = probability.dtype();
  //@begin balance-loss
  std::vector<double> share(static_cast<size_t>(E), 0.0);
  double proposals = 0;
  for (int64_t i = 0; i < expert.count(); ++i) {
    const int32_t e = expert.data<int32_t>()[i];
    if (e >= 0) ++share[static_cast<size_t>(e)], ++proposals;
  }
  for (double& f : share) f *= double(E) / std::max(proposals, 1.0);
  const Var scaled_share(Tensor::from(share, {E}, dtype));  // E f
  const Var weights(token_weights(T, valid, dtype));
  const Var mean_probability = column_sum(scale_rows(probability, weights));
  return sum(multiply(scaled_share, mean_probability));
  //@end balance-loss
}

//@begin z-loss
Var router_z_loss(const Var& logits, std::span<const uint8_t> valid) {
  const Var z = logsumexp(logits);  // (T)
  const Var weights(token_weights(z.shape()[0], valid, z.dtype()));
  return sum(multiply(multiply(z, z), weights));
}
//@end z-loss

std::vector<AuxTerm> balance_terms(const ModelConfig& config, const Var& logits, const Var& probability,
                                   const Tensor& expert, std::span<const uint8_t> valid) {
  std::vector<AuxTerm> terms{{"balance", balance_loss(probability, expert, valid), config.balance}};
  if (config.z_loss > 0) terms.push_back({"z", router_z_loss(logits, valid), config.z_loss});
  return terms;
}

RouteStats statistics(const RoutingPlan& plan, const Tensor& probability) {
  const int64_t T = plan.tokens, E = plan.experts;
  RouteStats s;
  s.load.assign(plan.proposed.data<int32_t>(), plan.proposed.data<int32_t>() + E);
  s.dropped.assign(plan.dropped.data<int32_t>(), plan.dropped.data<int32_t>() + E);
  int64_t total = 0, most = 0;
  for (int64_t load : s.load) total += load, most = std::max(most, load), s.dead += load == 0;
  s.max_over_mean = total ? double(most) * double(E) / double(total) : 0;
  const std::vector<double> p = probability.values();
  for (int64_t t = 0; t < T; ++t) {
    double top = 0;
    for (int64_t e = 0; e < E; ++e) {
      const double q = p[static_cast<size_t>(t * E + e)];
      top = std::max(top, q);
      if (q > 0) s.entropy -= q * std::log(q) / double(T);
    }
    s.top_probability += top / double(T);
  }
  s.together.assign(static_cast<size_t>(E * E), 0);
  const int32_t *first = plan.token_offset.data<int32_t>(), *slot = plan.token_slot.data<int32_t>();
  const std::vector<int32_t> expert_of = plan.slot_expert();
  for (int64_t t = 0; t < T; ++t)
    for (int32_t i = first[t]; i < first[t + 1]; ++i)
      for (int32_t j = first[t]; j < first[t + 1]; ++j)
        ++s.together[static_cast<size_t>(expert_of[size_t(slot[i])] * E + expert_of[size_t(slot[j])])];
  return s;
}

}  // namespace switchyard
