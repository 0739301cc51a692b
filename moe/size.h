// How large a model is and what it costs, from its configuration alone; the compiler can work it out.
#pragma once
#include <algorithm>

#include "moe/config.h"

namespace switchyard {

// Parameters in all, where they are, and those that take part in one token's work (of E experts, top_k). Exact; state
// that is not trained (DeepSeek-V3's bias, a hash table) does not count.
struct ParameterCount {
  int64_t total = 0, active = 0;
  int64_t embedding = 0, head = 0;  // the head is the output layer: none where it is the embedding
  int64_t attention = 0, dense = 0, router = 0, shared = 0, experts = 0, norms = 0;
};

// The same with total and active, once the parts are there.
constexpr ParameterCount added_up(ParameterCount n, int64_t E, int64_t top_k) {
  //@begin active
  n.total = n.embedding + n.head + n.attention + n.norms;
  n.total += n.dense + n.router + n.shared + n.experts;
  n.active = n.total - n.experts + n.experts / E * top_k;
  //@end active
  return n;
}

// Of a matrix (out, in); with an adapter of rank r, those of A (r, in) and B (out, r) too.
constexpr int64_t matrix_params(int64_t out, int64_t in, int64_t r) { return out * in + r * (out + in); }

// r: the rank of the adapters, 0 without.
constexpr int64_t mlp_params(Activation activation, int64_t F, int64_t C, int64_t r = 0) {
  return matrix_params(first_layer_width(activation, F), C, r) + matrix_params(C, F, r);
}

constexpr int64_t attention_params(const ModelConfig& c) {
  const int64_t C = c.width, D = c.head_width(), H = c.heads, K = c.kv_heads;
  const int64_t r = c.adapters.rank_in(Adapters::attention);
  if (c.attention == AttentionKind::latent) {
    const int64_t queries = H * (D + c.rope_dim), R = c.latent_rank, q = c.query_rank.value_or(0);
    const int64_t query =  // with a norm between
        c.query_rank ? matrix_params(q, C, r) + q + matrix_params(queries, q, r) : matrix_params(queries, C, r);
    return query + matrix_params(R + c.rope_dim, C, r) + R + matrix_params(H * (D + c.value_dim), R, r) +
           matrix_params(C, H * c.value_dim, r);
  }
  const int64_t norms = c.qk_norm == QkNorm::none ? 0 : c.qk_norm == QkNorm::head ? 2 * D : (H + K) * D;
  return matrix_params((H + 2 * K) * D, C, r) + matrix_params(C, H * D, r) + norms;
}

constexpr int64_t router_params(const ModelConfig& c) {
  if (c.router == "hash") return 0;
  return int64_t{c.experts} * c.width * (c.router == "noisy-topk" ? 2 : 1);
}

constexpr int64_t norm_params(const ModelConfig& c) { return c.norm == NormKind::layer ? 2 * c.width : c.width; }

constexpr ParameterCount count_parameters(const ModelConfig& c) {
  const int64_t C = c.width, embedding = c.vocab * C, r = c.adapters.rank_in(Adapters::experts);
  const int64_t expert = mlp_params(c.activation, c.ffn, C, r);
  const int64_t dense = mlp_params(c.dense_activation.value_or(c.activation), c.dense_width(), C, r);
  const int64_t shared =
      c.shared_experts ? mlp_params(c.activation, c.shared_width(), C, r) + (c.shared_gate ? C : 0) : 0;
  ParameterCount n{.embedding = embedding, .head = c.tied ? 0 : embedding, .norms = norm_params(c)};
  for (int i = 0; i < c.layers; ++i) {
    //@begin totals
    n.attention += attention_params(c);
    n.norms += 2 * norm_params(c);
    if (!c.has_experts(i)) {
      n.dense += dense;
    } else if (c.dense()) {
      n.dense += expert;
    } else {
      n.router += router_params(c);
      n.shared += shared;
      n.experts += c.experts * expert;
    }
    //@end totals
  }
  return added_up(n, c.experts, c.top_k);
}
constexpr int64_t total_params(const ModelConfig& c) { return count_parameters(c).total; }
constexpr int64_t active_params(const ModelConfig& c) { return count_parameters(c).active; }

// Floating-point operations per token of a forward pass over a full context: 2 for each active parameter but the
// embedding's lookup, and attention over half the context on average. A training step costs three times this.
constexpr double forward_flops_per_token(const ModelConfig& c) {
  const ParameterCount n = count_parameters(c);
  const int64_t worked = n.active - (c.tied ? 0 : n.embedding);
  const bool latent = c.attention == AttentionKind::latent;
  // Scores and values of a head: half of both for the half that is seen.
  const double widths = latent ? (c.head_width() + c.rope_dim + c.value_dim) / 2.0 : c.head_width();
  const double T = c.context, w = c.window ? std::min<double>(*c.window, T) : T;
  const double seen = w * (1 - w / (2 * T));  // tokens that a query sees, on average
  return 2.0 * double(worked) + 4.0 * c.layers * seen * c.heads * widths;
}

// Numbers that generation keeps of each token behind it. Grouped attention: keys and values. Latent attention: the
// vector that both come from, and the turned key that all heads share (DeepSeek-V2, section 2.1.3).
constexpr int64_t cached_numbers_per_token(const ModelConfig& c) {
  if (c.attention == AttentionKind::latent) return int64_t{c.layers} * (c.latent_rank + c.rope_dim);
  return int64_t{2} * c.layers * c.kv_heads * c.head_width();
}

// The dense model that does the same work per token: an MLP as wide as the active experts together.
//@begin twins
constexpr ModelConfig dense_twin(ModelConfig c) {
  if (c.dense()) return c;
  if (c.first_dense > 0 || c.moe_every > 1) c.dense_ffn = c.dense_width();
  c.ffn = c.ffn * c.top_k + c.shared_width();
  c.experts = c.top_k = 1, c.shared_experts = 0, c.shared_gate = false;
  c.router = "topk", c.gate_norm = GateNorm::none, c.capacity.reset();
  return c;
}
// The dense model that stores as much: its MLP is as wide as all the experts.
constexpr ModelConfig dense_of_all(ModelConfig c) {
  c.top_k = c.experts;
  return dense_twin(c);
}
//@end twins

// What a model costs, of any kind that has the functions above.
struct ModelCost {
  ParameterCount parameters;
  double forward_flops = 0;    // per token
  int64_t cached_numbers = 0;  // per token
  // Memory of the weights alone, every expert at hand: 32 bits for f32, 16 for bf16, 8 or 4 for integers.
  constexpr int64_t bytes_to_serve(int bits) const { return parameters.total * bits / 8; }
};
template <class Model>
constexpr ModelCost cost_of(const Model& m) {
  return {count_parameters(m), forward_flops_per_token(m), cached_numbers_per_token(m)};
}
// Beside it, the dense model of the same work per token and the dense model of the same size.
struct ComparedCost {
  ModelCost model, same_active, same_total;
};
template <class Model>
constexpr ComparedCost compared_cost(const Model& m) {
  return {cost_of(m), cost_of(dense_twin(m)), cost_of(dense_of_all(m))};
}

}  // namespace switchyard
