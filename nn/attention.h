#pragma once
#include "nn/linear.h"
#include "nn/norm.h"

namespace switchyard {

// The keys (already turned) and values of the tokens seen so far: two tensors (B, capacity, K, D). Latent attention
// keeps less there: nn/latent_attention.h.
struct KeyValueCache {
  Tensor keys, values;
  int64_t length = 0;

  // Appends those of x (B, T, H + 2K, D). Error if they do not fit.
  void append(const Tensor& x, Heads h) {
    store_keys_values(x, h, keys, values, length);
    length += x.shape()[1];
  }
};

// Causal self-attention with grouped queries: H query heads share K key/value heads, all of width D.
struct Attention {
  Heads heads{};
  double theta = 10000;
  int64_t window = all_keys;  // tokens that each sees at most, its own the last (Jiang et al. 2023, section 2)
  Linear qkv, out;            // (H + 2K) D x C, and C x H D
  std::optional<Norm> query_norm, key_norm;

  Attention() = default;
  Attention(int64_t width, Heads heads_, double theta_, double deviation, double out_deviation, Init& init)
      : heads(heads_),
        theta(theta_),
        qkv(width, (heads.H + 2 * heads.K) * heads.D, deviation, init),
        out(heads.H * heads.D, width, out_deviation, init) {}
  // From now on queries and keys pass an RMSNorm before they are turned: over each head's D, with one weight for all
  // heads (Yang et al. 2025, "Qwen3"), or over all heads as a whole (Muennighoff et al. 2024, "OLMoE").
  void norm_queries_and_keys(bool whole, double epsilon, Init& init) {
    query_norm = Norm(whole ? heads.H * heads.D : heads.D, epsilon, false, init);
    key_norm = Norm(whole ? heads.K * heads.D : heads.D, epsilon, false, init);
  }

  void adapt(const AdapterConfig& config, Init& init) { qkv.adapt(config, init), out.adapt(config, init); }

  // x (B T, C) of B sequences -> (B T, C). With a cache, x holds the tokens that follow those in it.
  Var operator()(const Var& x, int64_t B, KeyValueCache* cache) const {
    const int64_t T = x.shape()[0] / B, first = cache ? cache->length : 0;
    const Var projected = query_norm ? normed(qkv(x)) : qkv(x);
    const Var turned = rope(reshape(projected, {B, T, heads.H + 2 * heads.K, heads.D}), heads, first, theta);
    Var y;  // (B, T, H, D)
    if (cache) {
      cache->append(turned.value(), heads);
      y = Var(attention_cached(turned.value(), heads, cache->keys, cache->values, cache->length, window));
    } else {
      y = attention(turned, heads, window);
    }
    return out(reshape(y, {B * T, heads.H * heads.D}));
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    qkv.visit(name + ".qkv", f);
    if (query_norm) query_norm->visit(name + ".q_norm", f);
    if (key_norm) key_norm->visit(name + ".k_norm", f);
    out.visit(name + ".out", f);
  }

 private:
  // The queries and keys of x (B T, (H + 2K) D), cut into rows as wide as the weight of their norm.
  Var normed(const Var& x) const {
    //@begin normed
    const auto part = [](const Norm& norm, const Var& y) {
      const int64_t width = norm.weight.value().count();
      const Shape rows{y.value().count() / width, width};
      return reshape(norm(reshape(y, rows)), y.shape());
    };
    //@end normed
    const int64_t q = heads.H * heads.D, k = q + heads.K * heads.D;
    return concat_columns(
        {part(*query_norm, columns(x, 0, q)), part(*key_norm, columns(x, q, k)), columns(x, k, x.value().cols())});
  }
};

}  // namespace switchyard
