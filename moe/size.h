// How large a model is and what it costs, from its configuration alone; the compiler can work it out.
#pragma once
#include "moe/config.h"

namespace switchyard {

// Parameters in all, and those that take part in one token's work (of E experts, top_k). Exact.
struct ParameterCount {
  int64_t total, active, embedding;
};
constexpr ParameterCount count_parameters(const ModelConfig& c) {
  const int64_t C = c.width, D = c.head_width(), norm = c.norm == NormKind::layer ? 2 * C : C;
  const int64_t expert = (first_layer_width(c.activation, c.ffn) + c.ffn) * C;
  const int64_t attention = (2 * c.heads + 2 * c.kv_heads) * D * C;
  const int64_t router = c.dense() ? 0 : int64_t{c.experts} * C, shared = c.dense() ? 0 : c.shared_experts * expert;
  const int64_t layer = attention + 2 * norm + router + shared;  // but for the routed experts
  const int64_t outside = int64_t{c.vocab} * C * (c.tied ? 1 : 2) + norm;
  const int64_t visited = c.dense() ? 1 : c.top_k;
  //@begin totals
  return {.total = outside + c.layers * (layer + c.experts * expert),
          .active = outside + c.layers * (layer + visited * expert),
          .embedding = int64_t{c.vocab} * C};
  //@end totals
}
constexpr int64_t total_params(const ModelConfig& c) { return count_parameters(c).total; }
constexpr int64_t active_params(const ModelConfig& c) { return count_parameters(c).active; }

// Floating-point operations per token of a forward pass over a full context: 2 for each active parameter but the
// embedding's lookup, and attention over half the context on average. A training step costs three times this.
constexpr double forward_flops_per_token(const ModelConfig& c) {
  const ParameterCount n = count_parameters(c);
  const int64_t worked = n.active - (c.tied ? 0 : n.embedding);
  return 2.0 * double(worked) + 2.0 * c.layers * c.context * c.heads * c.head_width();
}

// The dense model that does the same work per token: an MLP as wide as the active experts together.
constexpr ModelConfig dense_twin(ModelConfig c) {
  if (c.dense()) return c;
  c.ffn *= c.top_k + c.shared_experts;
  c.experts = c.top_k = 1, c.shared_experts = 0;
  c.router = RouterKind::topk, c.gate_norm = GateNorm::none, c.capacity.reset();
  return c;
}

}  // namespace switchyard
