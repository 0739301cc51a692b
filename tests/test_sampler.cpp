// The sampler against distributions computed by hand, and its draws against its distributions.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "infer/sampler.h"
#include "tests/scratch.h"

using namespace switchyard;

namespace {

constexpr float inf = HUGE_VALF;

// Logits whose softmax is proportional to these weights.
std::vector<float> logits_of(const std::vector<double>& weights) {
  std::vector<float> logits;
  for (double w : weights) logits.push_back(static_cast<float>(std::log(w)));
  return logits;
}

void check_distribution(SamplerConfig config, const std::vector<float>& logits, const std::vector<int32_t>& history,
                        const std::vector<double>& expected) {
  const std::vector<double> got = Sampler(config).distribution(logits, history);
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    if (expected[i] == 0) CHECK(got[i] == 0);
    CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-6));  // the logits are floats
  }
}

std::string error_of(SamplerConfig config, const std::vector<float>& logits = {1}, std::vector<int32_t> history = {}) {
  return switchyard::error_of([&] { Sampler(config).sample(logits, history); });
}

const std::vector<float> ten = logits_of({4, 1, 3, 2});  // probabilities 0.4 0.1 0.3 0.2

}  // namespace

TEST_CASE("sampler: the softmax, and temperature") {
  check_distribution({}, ten, {}, {0.4, 0.1, 0.3, 0.2});
  check_distribution({.temperature = 0.5}, ten, {}, {16 / 30., 1 / 30., 9 / 30., 4 / 30.});  // squares
  const double roots = 2 + 1 + std::sqrt(3) + std::sqrt(2);
  check_distribution({.temperature = 2}, ten, {}, {2 / roots, 1 / roots, std::sqrt(3) / roots, std::sqrt(2) / roots});
  check_distribution({.temperature = 1e-300}, ten, {}, {1, 0, 0, 0});
  check_distribution({.temperature = 5e-324}, {-3e38f, 3e38f}, {}, {0, 1});
  check_distribution({}, {1000, 1000, -1000}, {}, {0.5, 0.5, 0});
  check_distribution({}, {-5}, {}, {1});
}

TEST_CASE("sampler: temperature 0 takes the highest, the lower index of equals") {
  check_distribution({.temperature = 0}, {1, 3, 3, 2}, {}, {0, 1, 0, 0});
  check_distribution({.temperature = 0, .top_k = 3, .top_p = 0.9}, {2, 2, 2}, {}, {1, 0, 0});
  check_distribution({.temperature = 0}, {-inf, -3e38f}, {}, {0, 1});
  check_distribution({.temperature = 0, .repetition_penalty = 2}, {1, 3, 2}, {1}, {0, 0, 1});  // 3 becomes 1.5
  Sampler sampler({.temperature = 0});
  for (int i = 0; i < 20; ++i) CHECK(sampler.sample(ten, {}) == 0);
}

TEST_CASE("sampler: top-k") {
  check_distribution({.top_k = 2}, ten, {}, {4 / 7., 0, 3 / 7., 0});
  check_distribution({.top_k = 1}, ten, {}, {1, 0, 0, 0});
  check_distribution({.top_k = 4}, ten, {}, {0.4, 0.1, 0.3, 0.2});
  check_distribution({.top_k = 1000}, ten, {}, {0.4, 0.1, 0.3, 0.2});
  // Ties at the border go to the lower index.
  check_distribution({.top_k = 2}, {1, 2, 1, 1}, {}, {1 / (1 + std::exp(1)), 1 / (1 + std::exp(-1)), 0, 0});
  check_distribution({.top_k = 3}, std::vector<float>(5, 7.f), {}, {1 / 3., 1 / 3., 1 / 3., 0, 0});
  check_distribution({.top_k = 2}, {-inf, 5, -inf}, {}, {0, 1, 0});
  // Probabilities that are equal in f64 but stem from unequal logits: the higher logit wins, not the lower index.
  check_distribution({.temperature = 100, .top_k = 1}, {1e-38f, 2e-38f}, {}, {0, 1});
}

TEST_CASE("sampler: top-p keeps the fewest likeliest tokens that reach p") {
  check_distribution({.top_p = 0.39}, ten, {}, {1, 0, 0, 0});
  check_distribution({.top_p = 0.41}, ten, {}, {4 / 7., 0, 3 / 7., 0});
  check_distribution({.top_p = 0.69}, ten, {}, {4 / 7., 0, 3 / 7., 0});
  check_distribution({.top_p = 0.71}, ten, {}, {4 / 9., 0, 3 / 9., 2 / 9.});
  check_distribution({.top_p = 0.91}, ten, {}, {0.4, 0.1, 0.3, 0.2});
  check_distribution({.top_p = 1}, ten, {}, {0.4, 0.1, 0.3, 0.2});
  check_distribution({.top_p = 1e-12}, ten, {}, {1, 0, 0, 0});
  check_distribution({.top_p = 0}, ten, {}, {1, 0, 0, 0});
  // Exactly p is enough, and of equals the lower index stays.
  check_distribution({.top_p = 0.5}, {0, 0, 0, 0}, {}, {0.5, 0.5, 0, 0});
  check_distribution({.top_p = 0.51}, {0, 0, 0, 0}, {}, {1 / 3., 1 / 3., 1 / 3., 0});
}

TEST_CASE("sampler: min-p is relative to the likeliest token") {
  check_distribution({.min_p = 0.24}, ten, {}, {0.4, 0.1, 0.3, 0.2});  // drops what is below 0.096
  check_distribution({.min_p = 0.26}, ten, {}, {4 / 9., 0, 3 / 9., 2 / 9.});
  check_distribution({.min_p = 0.76}, ten, {}, {1, 0, 0, 0});
  check_distribution({.min_p = 1}, {2, 2, 1}, {}, {0.5, 0.5, 0});
}

TEST_CASE("sampler: the repetition penalty divides positive and multiplies negative logits, once") {
  const double sum = std::exp(1) + std::exp(-2) + std::exp(0) + std::exp(1);
  check_distribution({.repetition_penalty = 2}, {2, -1, 0, 1}, {0, 1, 2, 0, 0, 1},
                     {std::exp(1) / sum, std::exp(-2) / sum, 1 / sum, std::exp(1) / sum});
  check_distribution({.repetition_penalty = 0.5}, {1, 2}, {0}, {0.5, 0.5});  // below 1 it rewards
  check_distribution({.repetition_penalty = 3}, {-inf, 1}, {0}, {0, 1});
  // Not by default.
  check_distribution({}, ten, {0, 1, 2, 3}, {0.4, 0.1, 0.3, 0.2});
}

TEST_CASE("sampler: each step sees what the one before has left") {
  // The penalty comes before top-k: 3 becomes 1, so that tokens 1 and 2 are the two highest.
  check_distribution({.top_k = 2, .repetition_penalty = 3}, {3, 2, 2}, {0}, {0, 0.5, 0.5});
  // Temperature comes before top-p: squared, 0.4 becomes 0.533, which is more than 0.5.
  check_distribution({.temperature = 0.5, .top_p = 0.5}, ten, {}, {1, 0, 0, 0});
  // top-p is a share of what top-k left: 0.4 of 0.7 is 0.571.
  check_distribution({.top_k = 2, .top_p = 0.55}, ten, {}, {1, 0, 0, 0});
  check_distribution({.top_k = 2, .top_p = 0.58}, ten, {}, {4 / 7., 0, 3 / 7., 0});
  // All of them.
  check_distribution({.top_k = 3, .top_p = 0.9, .min_p = 0.6}, ten, {}, {4 / 7., 0, 3 / 7., 0});
}

TEST_CASE("sampler: draws follow the distribution") {
  // Pearson's chi-square; the bounds are the 0.999 quantiles for 3, 2 and 99 degrees of freedom.
  const auto chi_square = [](SamplerConfig config, const std::vector<float>& logits) {
    Sampler sampler(config);
    const std::vector<double> p = sampler.distribution(logits, {});
    constexpr int n = 20000;
    std::vector<int> seen(p.size());
    for (int i = 0; i < n; ++i) ++seen.at(sampler.sample(logits, {}));
    double sum = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) CHECK(seen[i] == 0);
      if (p[i] > 0) sum += (seen[i] - n * p[i]) * (seen[i] - n * p[i]) / (n * p[i]);
    }
    return sum;
  };
  for (uint64_t seed : {0, 1, 2}) {
    CAPTURE(seed);
    CHECK(chi_square({.seed = seed}, ten) < 16.27);
    CHECK(chi_square({.temperature = 1.5, .top_k = 3, .seed = seed}, ten) < 13.82);
    CHECK(chi_square({.seed = seed}, std::vector<float>(100, 1.f)) < 148.23);
    CHECK(chi_square({.seed = seed}, {-inf, 3, -inf}) == 0);
  }
}

TEST_CASE("sampler: a draw is the plain inversion of one uniform number") {
  Sampler sampler({.seed = 5});
  Random random{{5, sampler_stream}};
  const std::vector<double> p = sampler.distribution(ten, {});
  int different = 0;
  for (int i = 0; i < 20000; ++i) {
    const double u = static_cast<double>(random.below(int64_t{1} << 53)) / 9007199254740992.0;
    const int plain = u < p[0] ? 0 : u < p[0] + p[1] ? 1 : u < p[0] + p[1] + p[2] ? 2 : 3;
    different += sampler.sample(ten, {}) != plain;
  }
  CHECK(different == 0);
}

TEST_CASE("sampler: the same seed draws the same tokens, with one number for each") {
  Sampler sampler({.seed = 9}), again({.seed = 9}), other({.seed = 10});
  std::vector<int32_t> a, b, c;
  for (int i = 0; i < 200; ++i) {
    a.push_back(sampler.sample(ten, {}));
    b.push_back(again.sample(ten, a));
    c.push_back(other.sample(ten, {}));
  }
  CHECK(a == b);
  CHECK(a != c);
  // A draw that has no choice takes its number too: it does not shift those that come after it.
  Sampler shifted({.seed = 9});
  for (int i = 0; i < 200; ++i) CHECK(shifted.sample(i % 2 ? ten : std::vector<float>{1}, {}) == (i % 2 ? a[i] : 0));
}

TEST_CASE("sampler: errors say what would be right") {
  CHECK(error_of({}, {1, NAN}) == "logit 1 is nan: must be a number");
  CHECK(error_of({}, {inf, 1}) == "logit 0 is inf: must be a number");
  CHECK(error_of({.temperature = 0}, {NAN, 1}) == "logit 0 is nan: must be a number");
  CHECK(error_of({}, {-inf, -inf}) == "all 2 logits are -inf: no token is possible");
  CHECK(error_of({}, {}) == "no logits to sample from");
  CHECK(error_of({}, {1, 2}, {0, 2}) == "token 2 in the history: must be 0 to 1");
  CHECK(error_of({}, {1, 2}, {-1}) == "token -1 in the history: must be 0 to 1");
  CHECK(error_of({.temperature = -1}) == "--temperature -1: must be 0 to 100");
  CHECK(error_of({.temperature = NAN}) == "--temperature nan: must be 0 to 100");
  CHECK(error_of({.top_k = 0}) == "--top-k 0: must be 1 to 1048576");
  CHECK(error_of({.top_p = 1.5}) == "--top-p 1.5: must be 0 to 1");
  CHECK(error_of({.min_p = -0.1}) == "--min-p -0.1: must be 0 to 1");
  CHECK(error_of({.repetition_penalty = 0}) == "--repetition-penalty 0: must be 0.01 to 100");
  CHECK(error_of({.seed = ~uint64_t{0}}) == "no error");
}
