// Chooses the next token from a model's logits.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "tensor/random.h"

namespace switchyard {

struct SamplerConfig {
  double temperature = 1;
  std::optional<int> top_k = std::nullopt;  // all tokens
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  uint64_t seed = 0;
};

// Lists every field once: f(name, field, lowest, highest, help).
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, SamplerConfig>
constexpr void visit(Config& c, F&& f) {
  f("temperature", c.temperature, 0.0, 100.0, "divides the logits; 0 always takes the likeliest token");
  f("top-k", c.top_k, 1, 1 << 20, "draw from the k likeliest tokens only; default: from all");
  f("top-p", c.top_p, 0.0, 1.0, "draw from the fewest likeliest tokens that together have this probability");
  f("min-p", c.min_p, 0.0, 1.0, "drop tokens less likely than this share of the likeliest one's probability");
  f("repetition-penalty", c.repetition_penalty, 0.01, 100.0,
    "makes tokens that occurred before less likely where above 1");
  f("seed", c.seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(), "the same seed draws the same text");
}

// The stream of the seed's numbers ("sampler"); no other use of a seed draws the same ones.
inline constexpr uint64_t sampler_stream = 0x73616d706c6572;

// The order is that of Hugging Face's generate(): repetition penalty, temperature, top-k, top-p, min-p; each step sees
// what the one before has left. All arithmetic is f64.
class Sampler {
 public:
  // Error if a field is out of its range.
  explicit Sampler(SamplerConfig config);

  // The probability of each token (V), 0 where it was dropped; the sum is 1. In order:
  // - repetition penalty r (Keskar et al. 2019, CTRL, section 4.1, as changed by Hugging Face): the logit of each
  //   token in `history` is divided by r where positive, else multiplied by r; once, however often it occurred;
  // - temperature 0: the highest logit has probability 1, the lower index of equals, and the rest is skipped;
  //   otherwise logits are divided by the temperature and go through the softmax;
  // - top-k: the k highest stay; of equals, the lower index (Hugging Face keeps all that equal the k-th);
  // - top-p (Holtzman et al. 2020, "nucleus", section 3.1): the fewest highest whose share of what is left reaches p,
  //   one at least; of equals, the lower index;
  // - min-p (Nguyen et al. 2024): those stay that have at least min_p times the highest probability.
  // Error: no logits, a logit that is NaN or +infinity, all of them -infinity, a token in `history` outside 0 .. V-1.
  std::vector<double> distribution(std::span<const float> logits, std::span<const int32_t> history) const;

  // The next token, drawn from distribution() with one number of the seed's stream. Error as above.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  SamplerConfig config_;
  Random random_;
};

}  // namespace switchyard
