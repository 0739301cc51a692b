#pragma once
#include "nn/linear.h"

namespace switchyard {

// The keys (already turned) and values of the tokens seen so far: two tensors (B, capacity, K, D).
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
  Linear qkv, out;  // (H + 2K) D x C, and C x H D

  Attention() = default;
  Attention(int64_t width, Heads heads_, double theta_, double deviation, double out_deviation, Init& init)
      : heads(heads_),
        theta(theta_),
        qkv(width, (heads.H + 2 * heads.K) * heads.D, deviation, init),
        out(heads.H * heads.D, width, out_deviation, init) {}

  // x (B T, C) of B sequences -> (B T, C). With a cache, x holds the tokens that follow those in it.
  Var operator()(const Var& x, int64_t B, KeyValueCache* cache) const {
    const int64_t T = x.shape()[0] / B, first = cache ? cache->length : 0;
    const Var projected = reshape(qkv(x), {B, T, heads.H + 2 * heads.K, heads.D});
    const Var turned = rope(projected, heads, first, theta);
    Var y;  // (B, T, H, D)
    if (cache) {
      cache->append(turned.value(), heads);
      y = Var(attention_cached(turned.value(), heads, cache->keys, cache->values, cache->length));
    } else {
      y = attention(turned, heads);
    }
    return out(reshape(y, {B * T, heads.H * heads.D}));
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    qkv.visit(name + ".qkv", f);
    out.visit(name + ".out", f);
  }
};

}  // namespace switchyard
