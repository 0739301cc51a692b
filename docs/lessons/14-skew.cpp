// Chapter 14: what padding costs when experts are unevenly busy.
#include <algorithm>
#include <chrono>
#include <functional>

#include "docs/lessons/six_tokens.h"

using namespace switchyard;

Tensor numbers(Shape shape, uint64_t stream, Dtype dtype = Dtype::f32) {
  return Init({stream}, dtype).normal(shape, 1).value();
}

// 2048 tokens go to 2 of E experts each, 256 -> 512. As multiples of the grouped product's rows and time: padding every
// expert to the busiest one, and a product for each expert in turn.
void compare(bool timed) {
  fmt::print("experts  skew  padded rows{}\n", timed ? "  padded time  loop time" : "");
  for (int E : {8, 64})
    for (double skew : {0.0, 1.0, 2.0}) {
      Tensor logits = numbers({2048, E}, 5, Dtype::f64);
      for (int64_t i = 0; i < logits.count(); ++i) logits.data<double>()[i] -= skew * double(i % E) / (E - 1);
      const ModelConfig config{.head_dim = 2, .experts = E, .top_k = 2};
      const RoutingPlan plan = build_plan(reading_router(config)->select({.x = Var(logits)}), 2048, E, {});
      const std::span<const int32_t> offset = ints(plan.offset), token = ints(plan.slot_token);
      const int32_t most = std::ranges::max(ints(plan.proposed));
      fmt::print("{:7}  {:4.1f}  {:11.2f}", E, skew, double(most) * E / 4096);
      std::vector<int32_t> padded(size_t(most) * size_t(E), -1), even;  // -1 gathers zeros
      for (int32_t e = 0; e <= E; ++e) even.push_back(e * most);
      for (size_t e = 0; e < size_t(E); ++e)
        std::copy(token.begin() + offset[e], token.begin() + offset[e + 1], padded.begin() + int64_t(e) * most);
      const int64_t in = timed ? 256 : 1;
      const Tensor x = numbers({2048, in}, 1), w = numbers({E, 512, in}, 2);
      const Tensor rows = Tensor::from(padded, {most * E}), begins = Tensor::from(even, {E + 1});
      const std::function<void()> ways[] = {
          [&] { grouped_forward(plan.offset, plan.slot_token, 4096, x, w); },
          [&] { grouped_forward(begins, Tensor(), most * E, gather_rows(x, rows), w); },
          [&] {
            for (int64_t e = 0; e < E; ++e)
              matmul(gather_rows(x, plan.slot_token.rows(offset[size_t(e)], offset[size_t(e) + 1])), false,
                     w.rows(e, e + 1).reshape({512, in}), true);
          }};
      std::vector<double> seconds[3];
      for (int round = 0; timed && round < 15; ++round)
        for (size_t i = 0; i < 3; ++i) {
          const auto start = std::chrono::steady_clock::now();
          ways[i]();
          seconds[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
      for (auto& list : seconds) std::ranges::sort(list);
      if (timed) fmt::print("  {:11.2f}  {:9.2f}", seconds[1][7] / seconds[0][7], seconds[2][7] / seconds[0][7]);
      fmt::print("\n");
    }
}

void rows() { compare(false); }
void times() { compare(true); }

int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", rows}, {"--time", times}}); }
