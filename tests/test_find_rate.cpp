// The rate finder: rates that rise by one factor, an end where the loss diverges, and what curves say that we know.
#include <cmath>

#include "tests/moe_models.h"
#include "tests/scratch.h"
#include "train/find_rate.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

RunConfig tiny_run() {
  RunConfig config{.source = {}, .model = tiny(), .train = {}, .out = {}};
  config.train = {.tokenizer = TokenizerKind::bytes, .corpus_bytes = 20'000, .people = 10, .batch = 2, .accumulate = 2};
  return config;
}

const std::atomic<bool> never{false};

// Points whose smooth loss is f(rate), at 10^-5, 10^-4.9, ..
template <class F>
std::vector<RatePoint> points(int count, F f) {
  std::vector<RatePoint> all;
  for (int i = 0; i < count; ++i) {
    const double rate = std::pow(10, -5 + 0.1 * i);
    all.push_back({rate, double(f(rate)), double(f(rate))});
  }
  return all;
}

}  // namespace

TEST_SUITE_BEGIN("find rate");

TEST_CASE("the rate rises by the same factor from the first to the last, and the same search finds the same bits") {
  int seen = 0;
  const RateSearch search{.from = 1e-5, .to = 1e-2, .steps = 13};
  const RateFinding f = find_rate(tiny_run(), search, never, [&](const RatePoint&) { ++seen; });
  REQUIRE(f.points.size() == 13);
  CHECK(seen == 13);
  CHECK(!f.diverged);
  for (size_t i = 0; i < 13; ++i)
    CHECK(f.points[i].rate == doctest::Approx(std::pow(10, -5 + 3 * double(i) / 12)).epsilon(1e-9));
  CHECK(f.points[0].smooth == f.points[0].loss);
  CHECK(f.points[1].smooth == doctest::Approx((0.9 * f.points[0].loss + f.points[1].loss) / 1.9));
  CHECK(f.points[0].loss == doctest::Approx(std::log(257)).epsilon(0.1));  // before any weight moved
  CHECK(f.points.back().smooth < f.points[0].smooth);
  const RateFinding again = find_rate(tiny_run(), search, never);
  for (size_t i = 0; i < 13; ++i) CHECK(again.points[i].loss == f.points[i].loss);
}

TEST_CASE("it ends where the loss diverges, and when it is told to") {
  RunConfig wild = tiny_run();
  wild.train.clip = 1e9;
  const RateFinding f = find_rate(wild, {.from = 1e-3, .to = 100, .steps = 200}, never);
  CHECK(f.diverged);
  CHECK(f.points.size() < 200);
  for (const RatePoint& p : f.points) CHECK(std::isfinite(p.smooth));
  const std::atomic<bool> now{true};
  CHECK(find_rate(tiny_run(), {}, now).points.empty());
  std::atomic<bool> soon{false};
  const auto stop_at_third = [&, n = 0](const RatePoint&) mutable { soon = ++n == 3; };
  CHECK(find_rate(tiny_run(), {}, soon, stop_at_third).points.size() == 3);
}

TEST_CASE("lowest, steepest and a tenth of the lowest, of curves whose answers are known") {
  // Lowest at 10^-2; a cosine falls fastest in its middle, at 10^-3.5.
  const double pi = std::acos(-1);
  const auto wave = [&](double rate) { return 5 + 2 * std::cos(pi * (std::log10(rate) + 5) / 3); };
  const RateFinding f = judged(points(51, wave), false);
  CHECK(f.lowest == doctest::Approx(1e-2).epsilon(1e-6));
  CHECK(f.recommended() == doctest::Approx(1e-3).epsilon(1e-6));
  CHECK(std::log10(f.steepest) == doctest::Approx(-3.5).epsilon(0.03));
  const RateFinding rising = judged(points(20, [](double rate) { return 5 + rate; }), true);
  CHECK(rising.lowest == 0);
  CHECK(rising.recommended() == 0);
  CHECK(rising.diverged);
  CHECK(judged({}, true).lowest == 0);
  const std::string drawn = plot(f, 40, 6);
  CHECK(drawn.find("3.000 |") != std::string::npos);  // the lowest
  CHECK(drawn.find("7.000 |") != std::string::npos);  // and the highest
  CHECK(drawn.find("1.0e-05") != std::string::npos);
  CHECK(std::count(drawn.begin(), drawn.end(), '\n') == 8);
  const auto cliff = [](double rate) { return rate < 1e-3 ? 5 : rate < 1e-2 ? 4 : 90; };
  CHECK(plot(judged(points(51, cliff), true), 40, 6).find("6.000 |") != std::string::npos);  // as far above as below
  CHECK(plot(judged(points(20, [](double) { return 5.0; }), false), 40, 6).empty());
}

TEST_CASE("a search that cannot be is refused") {
  CHECK(error_of([] { find_rate(tiny_run(), {.from = 1, .to = 0.1}, never); }).find("--from 1 --to 0.1: must be") == 0);
  CHECK(error_of([] { find_rate(tiny_run(), {.from = 0, .to = 0.1}, never); }).find("--from 0") == 0);
  CHECK(error_of([] { find_rate(tiny_run(), {.steps = 9}, never); }) == "--steps 9: must be at least 10");
}

TEST_SUITE_END();
