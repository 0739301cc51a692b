// The parts of ./run bench that take no time: what a call costs by its arguments, what limits it, how samples become a
// profile, and that the timed table computes what the plain one does.
#include <doctest/doctest.h>

#include "tests/bench/profile.h"
#include "tests/bench/training_step.h"

using namespace switchyard;
using namespace switchyard::bench;

namespace {

using F = Costs<float>;
constexpr float* none = nullptr;

void check_cost(const Cost& cost, double flops, double read, double written) {
  CHECK(cost.flops == flops);
  CHECK(cost.read == read);
  CHECK(cost.written == written);
}

// A machine whose limits are round numbers, as multiples of its yardstick.
Limits round_limits() {
  const auto level = [](const char* name, double bytes, double read) {
    return Level{name, bytes, {0, read}, {0, read / 2}, {0, read / 4}};
  };
  return {.fma = {100, 1},
          .dot = Rate{200, 2},
          .levels = {level("L1", 1000, 4), level("DRAM", std::numeric_limits<double>::infinity(), 0.5)}};
}

// All parameters after one training step of a small mixture.
std::vector<float> trained() {
  ModelConfig c{
      .vocab = 31, .context = 16, .layers = 2, .width = 16, .heads = 2, .kv_heads = 1, .ffn = 12, .experts = 4};
  TrainConfig train{.batch = 2, .rate = 1e-2};
  Transformer model(c, 3);
  Optimizer optimizer(model, train);
  Random random{{1, 1}};
  training_step(model, optimizer, train, random);
  std::vector<float> all;
  model.visit([&](const std::string&, Var& p) {
    all.insert(all.end(), p.value().data<float>(), p.value().data<float>() + p.value().count());
  });
  return all;
}

}  // namespace

TEST_SUITE("bench") {
  TEST_CASE("a call's operations and bytes come from its arguments") {
    check_cost(F::add(10, none, none, none), 10, 80, 40);
    check_cost(F::gemm(false, true, 2, 3, 5, none, none, false, none), 60, 100, 24);
    check_cost(F::gemm(false, true, 2, 3, 5, none, none, true, none), 60, 124, 24);
    check_cost(Costs<bf16>::gemm_wide(true, false, 2, 3, 5, nullptr, nullptr, false, nullptr), 60, 50, 24);
    check_cost(F::softmax_top_k(4, 8, 2, none, none, nullptr), 224, 128, 160);
    check_cost(F::adamw(10, {}, none, none, none, none), 150, 160, 120);
    check_cost(F::copy_rows(2, 3, 4, none, 0, 0, none, 0, 0), 0, 96, 96);
  }

  TEST_CASE("grouped products count the slots in use and the weights of experts that have one") {
    const int32_t offset[] = {0, 3, 3, 5};  // of 6 slots
    check_cost(F::grouped_forward(6, 3, 7, 2, offset, nullptr, none, none, none), 140, 4 * (10 + 28), 4 * 42);
    check_cost(F::grouped_backward_input(6, 3, 7, 2, offset, none, none, none), 140, 4 * (35 + 28), 4 * 12);
    check_cost(F::grouped_backward_weight(6, 3, 7, 2, offset, nullptr, none, none, none), 140, 4 * 45, 4 * 42);
    const int32_t token_offset[] = {0, 2, 3};
    check_cost(F::combine(2, 5, token_offset, nullptr, none, none, none), 30, 3 * (20 + 4) + 2 * 4, 40);
  }

  TEST_CASE("attention counts the pairs that are seen") {
    AttentionShape s{.B = 2, .Tq = 4, .Tk = 4, .H = 3, .K = 1, .D = 5};
    CHECK(visible_pairs(s) == 10);  // 1 + 2 + 3 + 4, half of 16 and the diagonal's half
    check_cost(F::attention(s, none, none, none, none, none), 4 * 10 * 30, 4 * (120 + 2 * 40), 4 * (120 + 24));
    CHECK(F::attention_backward(s, none, none, none, none, none, none, none, none, none).flops == 10 * 10 * 30);
    s.window = 2;
    CHECK(visible_pairs(s) == 7);
    s.Tq = 1;
    CHECK(visible_pairs(s) == 2);
    CHECK(F::attention(s, none, none, none, none, none).read == 4 * (30 + 2 * 20));  // two keys of four
    s.window = all_keys;
    CHECK(visible_pairs(s) == 4);
  }

  TEST_CASE("what limits a call: its arithmetic, or its bytes in the smallest level that holds them") {
    const Limits limits = round_limits();
    const auto expect = [&](const Cost& cost, size_t element, double yardstick_flops, int by) {
      const Bound bound = bound_of(cost, element, limits);
      CHECK(bound.yardstick_flops == yardstick_flops);
      CHECK(bound.by == by);
    };
    const Product product{.M = 1, .N = 1, .K = 1};
    expect({1000, 400, 0}, 4, 1000, -1);
    expect({10, 400, 0}, 4, 100, 0);
    expect({10, 4000, 0}, 4, 8000, 1);
    expect({10, 200, 200}, 4, 200, 0);  // as a copy
    expect({10, 200, 100}, 4, 300, 0);  // as a triad
    expect({1000, 400, 0, product}, 2, 500, -1);
    expect({1000, 400, 0}, 2, 1000, -1);  // elementwise work in bf16 multiplies in f32
  }

  TEST_CASE("a profile: medians over the runs, shares of each run's own time and yardstick") {
    const Product p{.M = 1, .N = 2, .K = 3};
    const auto run = [&](double slower) {
      return StepRun{10 * slower,
                     100 / slower,
                     {{"gemm", {300, 0, 0, p}, 4 * slower, 4},
                      {"gemm", {100, 0, 0, p}, slower, 4},
                      {"add", {100}, 2 * slower, 4}}};
    };
    const Profile profile = profile_of({run(1), run(4), run(2)}, round_limits());
    CHECK(profile.seconds == 20);
    CHECK(profile.outside == 6);
    CHECK(profile.of_limit == doctest::Approx(0.5));
    REQUIRE(profile.rows.size() == 2);
    const Row& gemm = profile.rows[0];
    CHECK(gemm.name() == "gemm nn 1x2x3");
    CHECK(gemm.calls == 2);
    CHECK(gemm.seconds == 10);
    CHECK(gemm.flops == 400);
    CHECK(gemm.of_step == doctest::Approx(0.5));
    CHECK(gemm.of_limit == doctest::Approx(0.8));  // in spite of the neighbours that slowed two of the runs
    CHECK(gemm.of_yardstick == doctest::Approx(0.8));
    CHECK(gemm.by == -1);
    CHECK(profile.rows[1].name() == "add");
  }

  TEST_CASE("names of products") {
    CHECK(text("gemm", {.transpose_b = true, .M = 4, .N = 2, .K = 3}) == "gemm nt 4x2x3");
    CHECK(text("grouped_forward", {.E = 8, .M = 4, .N = 2, .K = 3}) == "grouped_forward 8e 4x2x3");
    CHECK(text("softmax", {}) == "softmax");
  }

  TEST_CASE("sizes of caches as Linux writes them") {
    CHECK(parse_size("48K") == 48 << 10);
    CHECK(parse_size("32M") == 32 << 20);
    CHECK(parse_size("512") == 512);
    for (const char* wrong : {"", "K", "48k", "-1", "4 8K", "48KB", "9999999999K"})
      CHECK_MESSAGE(!parse_size(wrong).has_value(), wrong);
  }

  TEST_CASE("the timed table computes the same bits, notes every call, and goes again") {
    const Kernels<float>* const plain = &kernels<float>(Device::cpu);
    const std::vector<float> want = trained();
    std::vector<Call> calls;
    {
      const TimedKernels<float> timed(calls);
      CHECK(&kernels<float>(Device::cpu) != plain);
      CHECK(trained() == want);
    }
    CHECK(&kernels<float>(Device::cpu) == plain);
    const auto count = [&](std::string_view kernel) {
      return std::count_if(calls.begin(), calls.end(), [&](const Call& call) { return call.kernel == kernel; });
    };
    CHECK(count("attention") == 2);
    CHECK(count("attention_backward") == 2);
    CHECK(count("grouped_forward") == 4);
    CHECK(count("gradient_scale") == 1);
    const auto grouped =
        std::find_if(calls.begin(), calls.end(), [](const Call& call) { return call.kernel == "grouped_forward"; });
    CHECK(grouped->cost.product == Product{.transpose_b = true, .E = 4, .M = 64, .N = 24, .K = 16});
    CHECK(grouped->seconds >= 0);
    calls.clear();
    trained();
    CHECK(calls.empty());
  }
}
