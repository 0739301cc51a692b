// What keeps experts evenly used, and what tells whether they are.
#pragma once
#include <vector>

#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard {

// The choices (T, k) with -1 in the rows of padding.
Tensor masked(const Tensor& choice, std::span<const uint8_t> valid);

// E * sum_i f_i P_i (Fedus et al. 2021, equation 4): f_i is expert i's share of all proposals, before any is dropped,
// and a constant; P_i its mean probability (T, E) over the valid tokens, which carries the gradient. 1 at uniform load.
Var balance_loss(const Var& probability, const Tensor& expert, std::span<const uint8_t> valid);
// Mean over the valid tokens of logsumexp(logits)^2 (Zoph et al. 2022, "ST-MoE", equation 5).
Var router_z_loss(const Var& logits, std::span<const uint8_t> valid);
// The router's terms: "balance", which is worth watching even at coefficient 0, and "z" where it has a coefficient.
std::vector<AuxTerm> balance_terms(const ModelConfig& config, const Var& logits, const Var& probability,
                                   const Tensor& expert, std::span<const uint8_t> valid);

// How one layer routed one batch.
struct RouteStats {
  std::vector<int64_t> load, dropped;  // (E) proposals, and those without room
  double entropy = 0;                  // mean over tokens, padding included, of -sum p log p, in nats; log E is uniform
  double top_probability = 0;          // mean over tokens of the largest p
  double max_over_mean = 0;            // the busiest expert's load over the mean load; 1 is balanced
  int64_t dead = 0;                    // experts that nobody asked for
  std::vector<int64_t> together;       // (E, E) tokens that visit both experts; the diagonal counts visits
};
// Its numbers where the device has left them: measuring waits for nothing, reading does.
struct RouteCounts {
  Tensor proposed, dropped;  // i32 (E)
  Tensor mean;               // f64 (2): entropy and top_probability
  Tensor together;           // i32 (E, E)
};
RouteCounts measure(const RoutingPlan& plan, const Tensor& probability);
RouteStats read(const RouteCounts& counts);
inline RouteStats statistics(const RoutingPlan& plan, const Tensor& probability) {
  return read(measure(plan, probability));
}

}  // namespace switchyard
