// Routing decisions that were worked out on paper or by others' code, taken on the device: which expert a token visits
// must not depend on where it is computed.
#include <numeric>

#include "tests/device/device_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// l[t][e] = 2 sin(1.3 t + 2.1 e): 8 tokens, 4 experts.
Floats golden_logits() {
  Floats x;
  for (int t = 0; t < 8; ++t)
    for (int e = 0; e < 4; ++e) x.push_back(float(2 * std::sin(1.3 * t + 2.1 * e)));
  return x;
}

Ints to_ints(const Output& output) { return {output.values.begin(), output.values.end()}; }

struct TopK {
  std::vector<double> probability;
  Ints index;
};
// Both kernels that choose, which must agree.
template <class T>
TopK top_k_on_device(const Floats& logits, int64_t rows, int64_t cols, int64_t k) {
  Run<T, T> run(Device::cuda, 0);
  auto* const probability = run.out(rows * cols);
  auto *const index = run.int_out(rows * k), *const alone = run.int_out(rows * k);
  const auto* const x = run.in(logits);
  run.kernel.softmax_top_k(rows, cols, k, x, probability, index);
  run.kernel.top_k(rows, cols, k, x, alone);
  const std::vector<Output> outputs = run.results();
  CHECK(outputs[1].bytes == outputs[2].bytes);
  return {outputs[0].values, to_ints(outputs[1])};
}

struct Plan {
  Ints offset, slot_token, token_offset, proposed, dropped;
  Ints tokens_of(size_t e) const { return {slot_token.begin() + offset[e], slot_token.begin() + offset[e + 1]}; }
};
Plan plan_on_device(int64_t capacity, const Ints& token, const Ints& expert, const Floats& priority) {
  Run<float, float> run(Device::cuda, 0);
  const int64_t A = int64_t(token.size());
  auto *const offset = run.int_out(5), *const slot_token = run.int_out(A), *const token_offset = run.int_out(9),
              *const proposed = run.int_out(4), *const dropped = run.int_out(4);
  run.kernel.plan({.A = A,
                   .tokens = 8,
                   .E = 4,
                   .capacity = capacity,
                   .token = run.in(token),
                   .expert = run.in(expert),
                   .priority = priority.empty() ? nullptr : run.wide(priority),
                   .offset = offset,
                   .slot_proposal = run.int_out(A),
                   .slot_token = slot_token,
                   .token_offset = token_offset,
                   .token_slot = run.int_out(A),
                   .proposed = proposed,
                   .dropped = dropped});
  const std::vector<Output> o = run.results();
  return {to_ints(o[0]), to_ints(o[1]), to_ints(o[2]), to_ints(o[3]), to_ints(o[4])};
}

// The experts of a row of logits by the rule itself: higher value first, then lower index.
Ints by_rule(const Floats& x, int64_t cols, int64_t k) {
  Ints chosen;
  for (size_t r = 0; r < x.size() / size_t(cols); ++r) {
    Ints order(static_cast<size_t>(cols));
    std::iota(order.begin(), order.end(), 0);
    const float* const row = &x[r * size_t(cols)];
    std::stable_sort(order.begin(), order.end(), [row](int32_t i, int32_t j) { return row[i] > row[j]; });
    chosen.insert(chosen.end(), order.begin(), order.begin() + k);
  }
  return chosen;
}

}  // namespace

TEST_SUITE_BEGIN("device: golden vectors");

// In f32 alone, as routers compute: rounded to bf16, token 6 would choose another first.
TEST_CASE("one expert and two of four") {
  const Floats logits = golden_logits();
  CHECK(top_k_on_device<float>(logits, 8, 4, 1).index == Ints{1, 3, 0, 2, 1, 1, 3, 2});
  const TopK two = top_k_on_device<float>(logits, 8, 4, 2);
  CHECK(two.index == by_rule(logits, 4, 2));
  Ints count(4);
  for (int32_t e : two.index) ++count[size_t(e)];
  CHECK(count == Ints{4, 4, 3, 5});
  const double first = two.probability[size_t(two.index[0])], second = two.probability[size_t(two.index[1])];
  CHECK(std::abs(first / (first + second) - 0.844591) < 1e-6);
  CHECK(std::abs(second / (first + second) - 0.155409) < 1e-6);
  // The balance loss, E sum f P: f the share of first choices, P the mean probability.
  double balance = 0;
  for (size_t t = 0; t < 8; ++t)
    for (size_t other = 0; other < 8; ++other) balance += two.probability[other * 4 + size_t(two.index[2 * t])] / 16;
  CHECK(std::abs(balance - 1.021552) < 1e-6);
}

TEST_CASE("plans: dropless, by rank, by priority, and expert choice") {
  const TopK two = top_k_on_device<float>(golden_logits(), 8, 4, 2);
  Ints token, expert;  // all first choices, then all second choices
  Floats best;
  for (size_t k = 0; k < 2; ++k)
    for (size_t t = 0; t < 8; ++t) {
      token.push_back(int32_t(t)), expert.push_back(two.index[t * 2 + k]);
      best.push_back(float(two.probability[t * 4 + size_t(two.index[t * 2])]));
    }
  const Plan all = plan_on_device(16, token, expert, {});
  CHECK(all.proposed == Ints{4, 4, 3, 5});
  CHECK(all.offset == Ints{0, 4, 8, 11, 16});
  CHECK(all.dropped == Ints{0, 0, 0, 0});
  const Plan by_rank = plan_on_device(4, token, expert, {});  // token 5 is the one too many
  CHECK(by_rank.proposed == Ints{4, 4, 3, 5});
  CHECK(by_rank.dropped == Ints{0, 0, 0, 1});
  CHECK(by_rank.tokens_of(3) == Ints{1, 6, 0, 2});
  CHECK(plan_on_device(4, token, expert, best).tokens_of(3) == Ints{1, 6, 0, 5});  // token 2 is

  token.clear(), expert.clear();
  for (int32_t t = 0; t < 8; ++t)
    for (int32_t e = 0; e < 4; ++e) token.push_back(t), expert.push_back(e);
  const Plan choice = plan_on_device(4, token, expert, {two.probability.begin(), two.probability.end()});
  Ints experts_of_token;
  for (size_t t = 0; t < 8; ++t) experts_of_token.push_back(choice.token_offset[t + 1] - choice.token_offset[t]);
  CHECK(experts_of_token == Ints{1, 2, 3, 2, 2, 1, 2, 3});
}

TEST_CASE_TEMPLATE("ties: the lower index, for any number of experts", T, float, bf16) {
  for (int64_t E : {2, 3, 8, 31, 32, 33, 64, 128, 200})
    for (int64_t k : {int64_t{1}, int64_t{2}, std::min<int64_t>(E, 6)}) {
      CAPTURE(E);
      CAPTURE(k);
      Floats x;
      for (int64_t e = 0; e < 2 * E; ++e) x.push_back(e < E ? 1.5f : -0.0f);   // all equal
      for (float v : whole_numbers(8 * E, 3)) x.push_back(v / 4);              // many equal, exact in bf16
      for (int64_t e = 0; e < E; ++e) x.push_back(e % 2 ? 0.0f : -0.0f);       // the two zeros are equal
      for (int64_t e = 0; e < E; ++e) x.push_back(e + 1 < E ? -infinity : 0);  // groups that are left out
      // Numbers that softmax cannot tell apart, or makes 0: the logits decide, not their probabilities.
      for (int64_t e = 0; e < E; ++e) x.push_back(float(e == 0 ? 0 : -1000 + 4 * e));
      for (int64_t e = 0; e < E; ++e) x.push_back(e % 2 ? 1e-8f : 0.0f);
      CHECK(top_k_on_device<T>(x, 14, E, k).index == by_rule(x, E, k));
    }
}

TEST_SUITE_END();
