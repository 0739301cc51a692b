// Text from a model: one token at a time, given out as soon as it is certain.
#pragma once
#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/kv_cache.h"
#include "infer/sampler.h"
#include "moe/transformer.h"
#include "nn/tokenizer.h"
#include "tensor/cuda/device.h"

namespace switchyard {

struct GenerateConfig {
  int max_tokens = 256;
  std::vector<std::string> stop;  // the text ends before the first of these; not among the fields of visit()
  SamplerConfig sampler;
  const std::atomic<bool>* cancel = nullptr;  // becomes true: stop after the current token
};

// f(name, field, lowest, highest, help); the sampler's fields follow.
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, GenerateConfig>
constexpr void visit(Config& c, F&& f) {
  f("max-tokens", c.max_tokens, 0, 1 << 30, "tokens to generate at most");
  visit(c.sampler, f);
}

enum class StopReason : uint8_t { end_token, stop_string, max_tokens, cancelled };

struct Generated {
  std::string text;              // without the prompt and without the stop string; whole UTF-8 characters
  std::vector<int32_t> ids;      // the tokens drawn, the end token not among them
  int64_t tokens = 0;            // ids.size()
  int64_t prompt_tokens = 0;     // tokens that the model saw before the first draw
  double prompt_seconds = 0;     // from the start to the first draw
  double seconds = 0;            // from there to the end
  double tokens_per_second = 0;  // model steps of one token each in `seconds`; 0 if there was none
  StopReason reason = StopReason::max_tokens;
};

// Continues `prompt`. An empty prompt starts a document: the model sees the end token, which precedes each document in
// training. `on_text` gets the text in pieces, each of whole UTF-8 characters (U+FFFD for bytes that are none) and
// never of a stop string: what may be the beginning of one is held back until it is decided.
// When the context is full, generation goes on with the last half of the tokens in it, read anew; so it does with the
// last `context` tokens of a longer prompt.
// Errors: a router that is not causal; a tokenizer with more tokens than the model's vocabulary (fewer: the rest of the
// vocabulary is never drawn); an empty stop string; the sampler's.
Generated generate(Transformer& model, const Tokenizer& tokenizer, std::string_view prompt,
                   const GenerateConfig& config, const std::function<void(std::string_view)>& on_text = {});

// From now on the model's matrices are kept as its products read them: those of a bf16 model in bf16, the routers' as
// they are. They were rounded at each use, so no logit changes; but training must not go on from them.
void narrow_weights(Transformer& model);

// A model with the tokens that it has seen: gives the logits of the next one.
class Decoder {
 public:
  // Error if the model's router is not causal. `capacity`: tokens kept at most; none: the model's context.
  explicit Decoder(Transformer& model, std::optional<int64_t> capacity = {});

  // Takes tokens (at least one) and returns the logits (V) after the last of them, valid until the next call. Where
  // they do not fit, the last half of the capacity is kept, the new ones included, and read anew.
  std::span<const float> feed(std::span<const int32_t> ids);
  int64_t length() const { return static_cast<int64_t>(seen_.size()); }  // tokens in the cache

 private:
  Transformer& model_;
  int64_t capacity_;
  std::vector<KeyValueCache> cache_;
  std::vector<int32_t> seen_;
  std::vector<float> logits_;
  gpu::Graph graph_;  // of one token's step, on the GPU
};

// Ends a text before the first of several stop strings, whatever pieces it comes in.
class StopFilter {
 public:
  // Error if one of them is empty.
  explicit StopFilter(std::vector<std::string> stop);

  // Takes the next piece and returns the text that is certain now. Of two stop strings the one that ends first counts;
  // of two that end together, the longer.
  std::string push(std::string_view piece);
  // The end of the text: what was held back, unless a stop string was met.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;  // a beginning of a stop string
  bool stopped_ = false;
};

}  // namespace switchyard
