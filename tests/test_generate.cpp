// Generation: with the cache as without it, whole characters, stop strings that never leak, a context that runs full.
#include <doctest/doctest.h>

#include <cmath>

#include "infer/generate.h"
#include "nn/utf8.h"
#include "tests/moe_models.h"

using namespace switchyard;

namespace {

ModelConfig config_of(int context = 64, int experts = 4, int vocab = 257) {
  return {.vocab = vocab,
          .context = context,
          .layers = 2,
          .width = 24,
          .heads = 4,
          .kv_heads = 2,
          .ffn = 20,
          .init = 0.3,  // large, so that the logits differ clearly
          .experts = experts,
          .top_k = experts > 1 ? 2 : 1,
          .gate_norm = experts > 1 ? GateNorm::sum_to_one : GateNorm::none};
}

// The logits after the last of `ids`, from the model alone: no cache, all tokens at once.
std::vector<double> logits_without_cache(Transformer& model, std::span<const int32_t> ids) {
  const int64_t T = static_cast<int64_t>(ids.size());
  const Tensor all = model(Tensor::from(ids, {1, T})).logits.value();
  return all.rows(T - 1, T).values();
}

int32_t highest(std::span<const double> x) {
  return static_cast<int32_t>(std::max_element(x.begin(), x.end()) - x.begin());
}

double difference(std::span<const float> a, std::span<const double> b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

// Some ids that depend on a seed.
std::vector<int32_t> some_ids(size_t n, uint64_t seed, int vocab = 257) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(uniform({seed, 9}, i) * vocab));
  return ids;
}

// A model that says the bytes of `text`, one after the other, and then <|end|>: each position's byte follows from the
// byte before it, so no byte may occur twice. The blocks add nothing; embedding and output layer are a look-up.
Transformer speaker(std::string_view text) {
  ModelConfig config = config_of(64, 1);
  config.width = 258, config.heads = config.kv_heads = 1, config.layers = 1;
  Transformer model(config);
  std::vector<int> next(257, 256);
  uint8_t before = '>';
  for (char c : text) next[before] = static_cast<uint8_t>(c), before = static_cast<uint8_t>(c);
  model.visit([&](const std::string& name, Var& parameter) {
    if (parameter.shape().rank() == 1) return;  // the norms stay 1
    const Tensor x = Tensor::zeros(parameter.shape());
    for (int64_t i = 0; i < 257; ++i) {
      if (name == "embedding.weight") x.data<float>()[i * 258 + i] = 1;
      if (name == "head.weight")
        for (int64_t from = 0; from < 257; ++from) x.data<float>()[i * 258 + from] = next[size_t(from)] == i;
    }
    parameter.set_value(x);
  });
  return model;
}

struct Spoken {
  Generated made;
  std::vector<std::string> pieces;
};
Spoken speak(std::string_view text, std::vector<std::string> stop = {}, int max_tokens = 100) {
  Transformer model = speaker(text);
  Spoken spoken;
  spoken.made = generate(model, Tokenizer::bytes(), ">",
                         {.max_tokens = max_tokens, .stop = std::move(stop), .sampler = {.temperature = 0}},
                         [&](std::string_view piece) { spoken.pieces.emplace_back(piece); });
  std::string joined;
  for (const std::string& piece : spoken.pieces) {
    joined += piece;
    for (size_t at = 0; at < piece.size();) {
      const Utf8Char c = read_utf8(piece, at);
      CHECK(c.status == Utf8Char::valid);
      at += static_cast<size_t>(c.length);
    }
  }
  CHECK(joined == spoken.made.text);
  return spoken;
}

}  // namespace

TEST_CASE("generate: every step's logits are those of the whole text at once") {
  double worst = 0;
  std::vector<std::pair<std::string, ModelConfig>> configs = test::all_attentions(config_of());
  configs.emplace_back("dense", config_of(64, 1)), configs.emplace_back("experts", config_of());
  for (const auto& [what, config] : configs)
    for (const Dtype dtype : {Dtype::f32, Dtype::f64})
      for (const size_t prompt : {1, 2, 7, 33}) {
        CAPTURE(what);
        CAPTURE(prompt);
        Transformer model(config, prompt, dtype);
        Decoder decoder(model);
        std::vector<int32_t> ids = some_ids(prompt, prompt);
        std::span<const float> logits = decoder.feed(ids);
        while (ids.size() < 64) {
          const std::vector<double> expected = logits_without_cache(model, ids);
          const double error = difference(logits, expected);
          // The same sums in another order; the logits are of order 1, and f64 ones are rounded to f32 once.
          CHECK(error < (dtype == Dtype::f64 ? 1e-6 : 1e-4));
          worst = std::max(worst, error);
          ids.push_back(highest(expected));
          logits = decoder.feed({&ids.back(), 1});
        }
        CHECK(decoder.length() == 64);
      }
  MESSAGE("largest difference of a logit: " << worst);
}

TEST_CASE("generate: weights kept in bf16 change no logit of a bf16 model, f32 weights stay as they are") {
  for (Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    Transformer model(config_of(), 7, dtype), narrow(config_of(), 7, dtype);
    narrow_weights(narrow);
    Decoder wide_decoder(model), narrow_decoder(narrow);
    for (int32_t id : {3, 250, 9, 9, 31}) {
      const std::span<const float> want = wide_decoder.feed({&id, 1}), got = narrow_decoder.feed({&id, 1});
      CHECK(std::vector(got.begin(), got.end()) == std::vector(want.begin(), want.end()));
    }
    int64_t narrow_matrices = 0;
    narrow.visit([&](const std::string&, Var& p) { narrow_matrices += p.dtype() == Dtype::bf16; });
    CHECK((narrow_matrices > 0) == (dtype == Dtype::bf16));
  }
}

TEST_CASE("generate: tokens may come one by one or together") {
  Transformer model(config_of());
  const std::vector<int32_t> ids = some_ids(20, 3);
  Decoder together(model), apart(model), uneven(model);
  const std::span<const float> expected = together.feed(ids);
  for (size_t i = 0; i < 20; ++i) apart.feed({&ids[i], 1});
  uneven.feed({ids.data(), 7});
  const std::span<const float> last = uneven.feed({ids.data() + 7, 13});
  const std::vector<double> want(expected.begin(), expected.end());
  CHECK(difference(last, want) < 1e-4);
  CHECK(difference(apart.feed(std::vector<int32_t>{5}), logits_without_cache(model, [&] {
                     std::vector<int32_t> more = ids;
                     more.push_back(5);
                     return more;
                   }())) < 1e-4);
}

TEST_CASE("generate: greedy text with the cache is greedy text without it") {
  const Tokenizer tokenizer = Tokenizer::bytes();
  for (const int experts : {1, 4})
    for (const std::string& prompt : {std::string("x"), std::string("Once upon a time"), std::string()}) {
      Transformer model(config_of(64, experts), 11);
      const Generated made = generate(model, tokenizer, prompt, {.max_tokens = 40, .sampler = {.temperature = 0}});
      std::vector<int32_t> ids = tokenizer.encode(prompt);
      if (ids.empty()) ids.push_back(tokenizer.end_id());  // what precedes each document
      CHECK(made.prompt_tokens == static_cast<int64_t>(ids.size()));
      std::vector<int32_t> expected;
      while (expected.size() < 40) {
        const int32_t id = highest(logits_without_cache(model, ids));
        if (id == tokenizer.end_id()) break;
        ids.push_back(id), expected.push_back(id);
      }
      CHECK(made.ids == expected);
      CHECK(made.tokens == static_cast<int64_t>(expected.size()));
      CHECK(made.reason == (expected.size() == 40 ? StopReason::max_tokens : StopReason::end_token));
    }
}

TEST_CASE("generate: a full context goes on from its last half") {
  for (const int context : {1, 2, 5, 8}) {
    CAPTURE(context);
    Transformer model(config_of(context), 2);
    Decoder decoder(model);
    std::vector<int32_t> seen;
    for (const int32_t id : some_ids(40, 5)) {
      seen.push_back(id);
      if (static_cast<int>(seen.size()) > context)  // keep the last half, one token at least
        seen.erase(seen.begin(), seen.end() - std::max(1, context / 2));
      CHECK(difference(decoder.feed({&id, 1}), logits_without_cache(model, seen)) < 1e-4);
      CHECK(decoder.length() == static_cast<int64_t>(seen.size()));
    }
    const std::vector<int32_t> longer = some_ids(23, 6);  // more than fits: the last of them, as many as fit
    const std::span<const int32_t> last = std::span(longer).last(static_cast<size_t>(context));
    CHECK(difference(decoder.feed(longer), logits_without_cache(model, last)) < 1e-4);
  }
  Transformer model(config_of(8), 2);
  const Generated made = generate(model, Tokenizer::bytes(), std::string(30, 'a'),
                                  {.max_tokens = 50, .sampler = {.temperature = 0, .repetition_penalty = 1.3}});
  CHECK(made.prompt_tokens == 8);
  CHECK((made.tokens == 50 || made.reason == StopReason::end_token));
}

TEST_CASE("generate: only whole characters are given out") {
  const Spoken greek = speak("aβ€😀z");  // 1, 2, 3 and 4 bytes; a token is a byte
  CHECK(greek.made.text == "aβ€😀z");
  CHECK(greek.pieces == std::vector<std::string>{"a", "β", "€", "😀", "z"});
  CHECK(greek.made.tokens == 11);
  CHECK(greek.made.reason == StopReason::end_token);
  CHECK(speak("a\xe2\x82").made.text == "a\xef\xbf\xbd");  // unfinished at the end: one U+FFFD
  CHECK(speak("a\xff"
              "b")
            .made.text ==
        "a\xef\xbf\xbd"
        "b");                                              // no character at all
  CHECK(speak("a€", {}, 2).made.text == "a\xef\xbf\xbd");  // cut by max_tokens
  CHECK(speak("").made.text == "");
  CHECK(speak("abc", {}, 0).made.text == "");
}

TEST_CASE("generate: the text ends before a stop string, of which nothing is given out") {
  const Spoken spoken = speak("abcdefgh", {"def"});
  CHECK(spoken.made.text == "abc");
  CHECK(spoken.pieces == std::vector<std::string>{"a", "b", "c"});
  CHECK(spoken.made.reason == StopReason::stop_string);
  CHECK(spoken.made.tokens == 6);
  CHECK(speak("abcdefgh", {"dex"}).made.text == "abcdefgh");  // held back, then given out
  CHECK(speak("abcdefgh", {"ghi"}).made.text == "abcdefgh");  // the text ends inside a stop string
  CHECK(speak("abcdefgh", {"a"}).made.text == "");
  CHECK(speak("a€b", {"€"}).made.text == "a");
  CHECK(speak("abcdefgh", {"fg", "cd"}).made.text == "ab");
}

TEST_CASE("stop strings: any cut of the text into pieces gives the same") {
  struct Case {
    std::vector<std::string> stop;
    std::string text, expected;
  };
  const Case cases[] = {{{"aab"}, "aaab-", "a"},
                        {{"abab"}, "ababab", ""},
                        {{"\n\n"}, "x\ny\n\nz", "x\ny"},
                        {{"abc", "b"}, "abc", "a"},
                        {{"bc", "abc"}, "xabcx", "x"},
                        {{"abcd", "bc"}, "xabcd", "xa"},
                        {{"END"}, "the EN END", "the EN "},
                        {{}, "anything", "anything"},
                        {{"zz"}, "a z", "a z"}};
  for (const Case& c : cases)
    for (uint32_t cuts = 0; cuts < 1u << (c.text.size() - 1); ++cuts) {
      StopFilter filter(c.stop);
      std::string given, piece;
      for (size_t i = 0; i < c.text.size(); ++i) {
        piece += c.text[i];
        if (i + 1 < c.text.size() && !(cuts >> i & 1)) continue;
        given += filter.push(piece);
        piece.clear();
        REQUIRE(c.expected.starts_with(given));  // nothing was given out that had to be taken back
      }
      CHECK(filter.stopped() == (c.expected != c.text));
      given += filter.finish();
      REQUIRE(given == c.expected);
    }
  CHECK(error_of([] { StopFilter({"a", ""}); }).find("must not be empty") != std::string::npos);
}

TEST_CASE("generate: a seed decides the text; cancelling ends it") {
  Transformer model(config_of(), 4);
  const Tokenizer tokenizer = Tokenizer::bytes();
  const auto with_seed = [&](uint64_t seed) {
    return generate(model, tokenizer, "a", {.max_tokens = 20, .sampler = {.seed = seed}}).ids;
  };
  CHECK(with_seed(1) == with_seed(1));
  CHECK(with_seed(1) != with_seed(2));

  std::atomic<bool> cancel{false};
  int pieces = 0;
  Transformer says = speaker("abcdefgh");
  const Generated made = generate(says, tokenizer, ">", {.sampler = {.temperature = 0}, .cancel = &cancel},
                                  [&](std::string_view) { cancel = ++pieces == 3; });
  CHECK(made.text == "abc");
  CHECK(made.reason == StopReason::cancelled);
}

TEST_CASE("generate: the vocabulary may be larger than the tokenizer's, not smaller") {
  Transformer larger(config_of(64, 4, 300), 4), smaller(config_of(64, 4, 256), 4);
  for (const int32_t id : generate(larger, Tokenizer::bytes(), "a", {.max_tokens = 60, .sampler = {.seed = 3}}).ids)
    CHECK(id < 257);
  CHECK(error_of([&] { generate(smaller, Tokenizer::bytes(), "a", {}); }) ==
        "a tokenizer of 257 tokens: the model's vocabulary has 256");
}

TEST_CASE("generate: errors") {
  Transformer model(config_of(16));
  Decoder decoder(model);
  CHECK(error_of([&] { decoder.feed({}); }).find("at least one") != std::string::npos);
  CHECK(error_of([&] { Decoder(model, 17); }).find("the context holds 16") != std::string::npos);
  CHECK(error_of([&] { decoder.feed(std::vector<int32_t>{257}); }).starts_with("token 257"));
}

TEST_CASE("cache: its size") {
  const ModelConfig config = config_of();
  const auto cache = make_cache(config, 3, Dtype::f64, 10);
  REQUIRE(cache.size() == 2);
  CHECK(cache[0].keys.shape() == Shape{3, 10, 2, 6});
  CHECK(cache[1].values.dtype() == Dtype::f64);
  CHECK(make_cache(config, 1)[0].keys.shape() == Shape{1, 64, 2, 6});
  CHECK(cache_bytes_per_token(config) == 2 * 2 * 2 * 6 * 4);
  CHECK(error_of([&] { make_cache(config, 0); }).find("must be 1 or more") != std::string::npos);
  // Of latent attention, the latent vector and the one turned key. A window changes nothing.
  ModelConfig latent = config;
  latent.attention = AttentionKind::latent, latent.latent_rank = 5, latent.rope_dim = 4;
  CHECK(cache_bytes_per_token(latent) == 2 * (5 + 4) * 4);
  CHECK(make_cache(latent, 3)[1].keys.shape() == Shape{3, 64, 4});
  CHECK(make_cache(latent, 3)[1].values.shape() == Shape{3, 64, 5});
  ModelConfig windowed = config;
  windowed.window = 7;
  CHECK(cache_bytes_per_token(windowed) == cache_bytes_per_token(config));
  CHECK(make_cache(windowed, 3)[0].keys.shape() == make_cache(config, 3)[0].keys.shape());
}
