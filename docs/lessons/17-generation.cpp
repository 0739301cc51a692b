// Chapter 17: logits with and without a cache, ways to draw from four tokens, text in pieces.
// --naive: each token's text is judged alone.
#include <fmt/ranges.h>

#include <algorithm>

#include "docs/lessons/six_tokens.h"
#include "infer/generate.h"
#include "nn/utf8.h"

using namespace switchyard;

constexpr ModelConfig tiny{.context = 512, .layers = 2, .width = 64, .heads = 4, .kv_heads = 2, .ffn = 64, .init = 0.1};

// n tokens, each the likeliest; `seen` counts what goes through the model.
std::vector<int32_t> greedy(Transformer& model, int64_t n, bool cached, int64_t& seen) {
  //@begin greedy
  std::vector<int32_t> ids = {1};
  std::optional<Decoder> decoder;
  while (int64_t(ids.size()) <= n) {
    if (!cached || !decoder) decoder.emplace(model);
    const std::span<const int32_t> all(ids), now = cached ? all.last(1) : all;
    const std::span<const float> logits = decoder->feed(now);
    ids.push_back(int32_t(std::ranges::max_element(logits) - logits.begin()));
    seen += int64_t(now.size());
  }
  //@end greedy
  return ids;
}
void cache() {
  Transformer model(tiny, 1);
  for (int64_t n : {16, 32, 64, 128}) {
    int64_t with = 0, without = 0;
    const bool same = greedy(model, n, true, with) == greedy(model, n, false, without);
    fmt::print("{} tokens: {} through the model with a cache, {} without; {}\n", n, with, without,
               same ? "the same text" : "another text");
  }
  fmt::print("a token's keys and values: {} bytes\n", cache_bytes_per_token(tiny));
}
void draw() {
  const std::vector<float> logits = {2, 1, 0, -1};
  const auto row = [&](const char* title, const SamplerConfig& config) {
    fmt::print("{:<15} {:.3f}\n", title, fmt::join(Sampler(config).distribution(logits, {}), "  "));
  };
  row("as they are", {}), row("temperature 0.5", {.temperature = 0.5}), row("temperature 2", {.temperature = 2});
  row("top-k 2", {.top_k = 2}), row("top-p 0.7", {.top_p = 0.7}), row("min-p 0.1", {.min_p = 0.1});
  row("temperature 0", {.temperature = 0});
}
// What a reader sees after each token, of a text that is to end before "STOP".
void pieces(bool naive) {
  Utf8Stream stream;
  StopFilter filter({"STOP"});
  for (const char* token : {"na", "\xc3", "\xafve ST", "EAM S", "TO", "P it"}) {
    if (naive) stream = {}, filter = StopFilter({"STOP"});
    std::string text = stream.push(token);
    if (naive) text += stream.finish();
    std::string shown = filter.push(text);
    if (naive) shown += filter.finish();
    fmt::print("[{}]", shown);
    if (filter.stopped()) break;
  }
  fmt::print(" {}\n", filter.stopped() ? "stopped" : "not stopped");
}
void all() { cache(), draw(), pieces(false); }
void naive() { pieces(true); }
int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", all}, {"--naive", naive}}); }
