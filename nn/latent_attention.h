// Multi-head latent attention: a token's keys and values, of all heads, come from one small vector, and generation
// keeps that vector instead of them (DeepSeek-AI 2024, "DeepSeek-V2", arXiv 2405.04434, equations 37 to 47).
#pragma once
#include <algorithm>
#include <cmath>
#include <optional>

#include "nn/attention.h"

namespace switchyard {

// H heads whose queries and keys are D + rope wide, of which the last `rope` elements are turned, and whose values
// are `value` wide. Keys and values come from `latent` numbers, queries from `query` numbers or straight from x.
struct LatentWidths {
  int64_t H, D, rope, value, latent;
  std::optional<int64_t> query;
};

struct LatentAttention {
  LatentWidths widths{};
  double theta = 10000;
  std::optional<Linear> query_down;  // equation 37
  Norm query_norm, latent_norm;
  Linear query;    // (H (D + rope), C or the query's rank): equations 38 and 39, a head's two parts beside each other
  Linear kv_down;  // (latent + rope, C): equations 41 and 43, the one turned key that all heads share
  Linear kv_up;    // (H (D + value), latent): equations 42 and 45, a head's key beside its value
  Linear out;      // (C, H value): equation 47

  LatentAttention() = default;
  LatentAttention(int64_t width, LatentWidths w, double theta_, double epsilon, double deviation, double out_deviation,
                  Init& init)
      : widths(w), theta(theta_) {
    if (w.query)
      query_down.emplace(width, *w.query, deviation, init), query_norm = Norm(*w.query, epsilon, false, init);
    query = Linear(w.query.value_or(width), w.H * (w.D + w.rope), deviation, init);
    kv_down = Linear(width, w.latent + w.rope, deviation, init);
    latent_norm = Norm(w.latent, epsilon, false, init);
    kv_up = Linear(w.latent, w.H * (w.D + w.value), deviation, init);
    out = Linear(w.H * w.value, width, out_deviation, init);
  }

  void adapt(const AdapterConfig& config, Init& init) {
    if (query_down) query_down->adapt(config, init);
    for (Linear* linear : {&query, &kv_down, &kv_up, &out}) linear->adapt(config, init);
  }

  // x (B T, C) of B sequences -> (B T, C). With a cache, x holds the tokens that follow those in it. Of each token it
  // keeps the latent vector (`values` there, (B, capacity, latent)) and the turned key (`keys`, (B, capacity, rope)).
  // Each call makes the keys and values of all tokens from them anew. The paper's shorter way multiplies kv_up into
  // `query` and `out`, so that attention works on the latent vectors themselves; it is an exercise of chapter 8.
  Var operator()(const Var& x, int64_t B, KeyValueCache* cache) const {
    const LatentWidths& w = widths;
    const int64_t T = x.shape()[0] / B, first = cache ? cache->length : 0, common = common_width();
    const Var q = queries(x, B, first);                                               // (B T, H common)
    const Var down = kv_down(x);                                                      // (B T, latent + rope)
    const Var latent = latent_norm(columns(down, 0, w.latent));                       // (B T, latent)
    const Var key = turned(columns(down, w.latent, w.latent + w.rope), B, 1, first);  // (B T, rope)
    Var y;                                                                            // (B, T, H, common)
    if (cache) {
      store_rows(key.value().reshape({B, T, w.rope}), cache->keys, first);
      store_rows(latent.value().reshape({B, T, w.latent}), cache->values, first);
      const int64_t length = cache->length += T;
      const auto all = keys_values(Var(first_rows(cache->keys, length).reshape({B * length, w.rope})),
                                   Var(first_rows(cache->values, length).reshape({B * length, w.latent})));
      const Shape shape{B, length, w.H, common};
      y = Var(attention_cached(q.value().reshape({B, T, w.H, common}), {w.H, w.H, common},
                               all.keys.value().reshape(shape), all.values.value().reshape(shape), length));
    } else {
      const auto [keys, values] = keys_values(key, latent);
      y = attention(reshape(concat_columns({q, keys, values}), {B, T, 3 * w.H, common}), {w.H, w.H, common});
    }
    return out(reshape(columns(y, 0, w.value), {B * T, w.H * w.value}));
  }

  // The names are DeepSeek's. Its files have the pairs that are turned beside each other, 2i and 2i + 1; here, as
  // everywhere in this code, they are i and i + rope / 2, so whoever loads its weights must reorder those rows.
  void visit(const std::string& name, const ParamVisitor& f) {
    if (query_down) query_down->visit(name + ".q_a_proj", f), query_norm.visit(name + ".q_a_layernorm", f);
    query.visit(name + (query_down ? ".q_b_proj" : ".q_proj"), f);
    kv_down.visit(name + ".kv_a_proj_with_mqa", f);
    latent_norm.visit(name + ".kv_a_layernorm", f);
    kv_up.visit(name + ".kv_b_proj", f);
    out.visit(name + ".out", f);
  }

 private:
  struct KeysValues {
    Var keys, values;  // (tokens, H common_width())
  };

  // The kernel knows one width for queries, keys and values. Zeros behind the narrower ones change no score and no
  // sum, and the answer's columns that come of them are cut off.
  int64_t common_width() const { return std::max(widths.D + widths.rope, widths.value); }
  Var padded(const Var& x) const {  // (rows, at most common_width()) -> (rows, common_width())
    const int64_t missing = common_width() - x.value().cols();
    if (missing == 0) return x;
    return concat_columns({x, Var(Tensor::zeros({x.value().rows(), missing}, x.dtype(), x.value().device()))});
  }
  // x (B T heads, rope), the tokens' places counted from `first`.
  Var turned(const Var& x, int64_t B, int64_t heads, int64_t first) const {
    const Shape by_head{B, x.shape()[0] / (B * heads), heads, widths.rope};
    return reshape(rope(reshape(x, by_head), {heads, 0, widths.rope}, first, theta), x.shape());
  }

  // Equations 37 to 40: (B T, H common). The kernel's scale is common^-1/2; what makes (D + rope)^-1/2 of it goes into
  // the queries.
  Var queries(const Var& x, int64_t B, int64_t first) const {
    const LatentWidths& w = widths;
    const int64_t tokens = x.shape()[0], own = w.D + w.rope, common = common_width();
    const Var q = reshape(query(query_down ? query_norm((*query_down)(x)) : x), {tokens * w.H, own});
    Var both = concat_columns({columns(q, 0, w.D), turned(columns(q, w.D, own), B, w.H, first)});
    if (common > own) both = scale(both, std::sqrt(double(common) / double(own)));
    return reshape(padded(both), {tokens, w.H * common});
  }

  // Equations 42, 44 and 45 for any number of tokens: key (tokens, rope), already turned; latent (tokens, latent).
  KeysValues keys_values(const Var& key, const Var& latent) const {
    const LatentWidths& w = widths;
    const int64_t tokens = latent.shape()[0];
    const Shape by_token{tokens, w.H * common_width()};
    //@begin keys-values
    const Var up = reshape(kv_up(latent), {tokens * w.H, w.D + w.value});
    const Tensor token = proposing_tokens(tokens, w.H, latent.value().device());
    const Var shared = gather_rows(key, token);  // each token's row, H times
    const Var keys = concat_columns({columns(up, 0, w.D), shared});
    const Var values = columns(up, w.D, w.D + w.value);
    //@end keys-values
    return {reshape(padded(keys), by_token), reshape(padded(values), by_token)};
  }
};

}  // namespace switchyard
