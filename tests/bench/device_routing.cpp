// What a mixture of experts does around its products: choose, plan, gather, combine.
#include <fmt/format.h>

#include "tensor/cuda/route.h"
#include "tests/bench/device_bench.h"

namespace switchyard::bench {
namespace {

Group make_choice(const Sizes& sizes) {
  Group group{"choosing experts, f32", Bound::memory, Dtype::f32, ""};
  const Kernels<float>& k = gpu::table<float>();
  const int64_t rows = sizes.pick(40, 65536, 65536);
  for (auto [E, best] : {std::pair{int64_t{8}, int64_t{2}}, {64, 6}, {256, 8}}) {
    const Array<float> x = random_array<float>(rows * E, 1), y(rows * E);
    const Array<int32_t> index(rows * best);
    const std::string size = fmt::format(" {} x {}, {} best", rows, E, best);
    const double bytes = 4.0 * double(rows * (E + best));
    const auto add = [&](const std::string& name, double all_bytes, std::function<void()> run) {
      group.cases.push_back({name + size, 0, all_bytes, std::move(run), nullptr});
    };
    add("softmax and top-k", bytes + 4.0 * double(rows * E),
        [=, &k, n = best, cols = E] { k.softmax_top_k(rows, cols, n, x, y, index); });
    add("top-k", bytes, [=, &k, n = best, cols = E] { k.top_k(rows, cols, n, x, index); });
    add("top-k, plain", bytes, [=, n = best, cols = E] { gpu::top_k_plain<float>(rows, cols, n, x, index); });
    add("top-k, by warp", bytes, [=, n = best, cols = E] { gpu::top_k_by_warp<float>(rows, cols, n, x, index); });
    add("top-k, by sorting", bytes, [=, n = best, cols = E] { gpu::top_k_by_sorting<float>(rows, cols, n, x, index); });
  }
  return group;
}

// A plan's arrays, and the proposals that it is made from.
struct Plan {
  Array<int32_t> token, expert, offset, slot_proposal, slot_token, token_offset, token_slot, proposed, dropped;
  PlanArrays<float> arrays;

  Plan(int64_t tokens, int64_t E, int64_t best)
      : token(tokens * best),
        expert(int_array(choices(tokens, E, best))),
        offset(E + 1),
        slot_proposal(tokens * best),
        slot_token(tokens * best),
        token_offset(tokens + 1),
        token_slot(tokens * best),
        proposed(E),
        dropped(E),
        arrays{tokens * best, tokens,        E,          tokens * best, token,      expert,   nullptr,
               offset,        slot_proposal, slot_token, token_offset,  token_slot, proposed, dropped} {
    gpu::table<float>().proposing_tokens(tokens * best, best, token);
  }
  // Each token proposes `best` neighbours of an expert drawn at random.
  static std::vector<int32_t> choices(int64_t tokens, int64_t E, int64_t best) {
    std::vector<int32_t> list;
    Random random{{3, 1}};
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0, first = random.below(E); i < best; ++i) list.push_back(int32_t((first + i) % E));
    return list;
  }
};

Group make_plans(const Sizes& sizes) {
  Group group{"plans", Bound::memory, Dtype::f32, ""};
  const int64_t tokens = sizes.pick(40, 16384, 16384);
  for (auto [E, best] : {std::pair{int64_t{8}, int64_t{2}}, {64, 6}}) {
    auto plan = std::make_shared<Plan>(tokens, E, best);
    const std::string size = fmt::format(" {} tokens x {} of {}", tokens, best, E);
    const double bytes = 4.0 * double(5 * tokens * best + tokens);  // three lists written, two read
    const auto add = [&](const char* name, void (*f)(const PlanArrays<float>&)) {
      group.cases.push_back({name + size, 0, bytes, [=] { f(plan->arrays); }, nullptr});
    };
    add("plan", gpu::table<float>().plan);
    add("plan, by sorting", gpu::plan_by_sorting<float>);
    if (best == 2) add("plan, plain", gpu::plan_plain<float>);
  }
  auto few = std::make_shared<Plan>(sizes.pick(8, 32, 32), 8, 2);  // a step of generation
  for (auto [label, f] :
       {std::pair{"plan", &gpu::plan_by_counting<float>}, {"plan, by sorting", &gpu::plan_by_sorting<float>}})
    group.cases.push_back({fmt::format("{}{} {} proposals", label,
                                       f == &gpu::plan_by_counting<float> ? ", by counting" : "", few->arrays.A),
                           0, 4.0 * double(6 * few->arrays.A), [=, run = f] { run(few->arrays); }, nullptr});
  return group;
}

template <class T>
Group make_moves(const Sizes& sizes) {
  Group group{fmt::format("moving tokens, {}", name(dtype_of<T>())), Bound::memory, dtype_of<T>(), ""};
  const Kernels<T>& k = gpu::table<T>();
  const int64_t tokens = sizes.pick(40, 16384, 32768), cols = sizes.pick(24, 2048, 2048), E = 8, N = 2 * tokens;
  auto plan = std::make_shared<Plan>(tokens, E, 2);
  gpu::table<float>().plan(plan->arrays);
  const Array<T> x = random_array<T>(tokens * cols, 1), slots = random_array<T>(N * cols, 2), dx(N * cols),
                 y(tokens * cols);
  const Array<Wide<T>> gate = random_array<Wide<T>>(N, 3), d_gate(N);
  const std::string size = fmt::format(" {} slots x {}", N, cols);
  const double row = sizeof(T) * double(tokens * cols);
  const auto add = [&](const char* name, double rows, std::function<void()> run) {
    group.cases.push_back({name + size, 0, rows * row, std::move(run), nullptr});
  };
  add("gather", 3, [=, &k] { k.gather_rows(N, cols, plan->slot_token, x, dx); });
  add("gather backward", 3, [=, &k] { k.gather_rows_backward(N, tokens, cols, plan->slot_token, slots, y); });
  add("combine", 3, [=, &k] { k.combine(tokens, cols, plan->token_offset, plan->token_slot, gate, slots, y); });
  add("combine backward", 5,
      [=, &k] { k.combine_backward(N, E, cols, plan->offset, plan->slot_token, gate, slots, y, dx, d_gate); });
  const int64_t few = sizes.pick(8, 1024, 1024);  // each thread of the plain step reads every index
  auto short_plan = std::make_shared<Plan>(few, E, 2);
  gpu::table<float>().plan(short_plan->arrays);
  for (auto [label, f] : {std::pair{"gather backward", &k.gather_rows_backward},
                          {"gather backward, plain", &gpu::gather_rows_backward_plain<T>}})
    group.cases.push_back({fmt::format("{} {} slots x {}", label, 2 * few, cols), 0,
                           3.0 * sizeof(T) * double(few * cols),
                           [=, run = f] { run(2 * few, few, cols, short_plan->slot_token, slots, y); }, nullptr});
  return group;
}

}  // namespace

std::vector<Section> routing_sections(const Sizes& sizes) {
  return {{"choice", [=] { return make_choice(sizes); }},
          {"plans", [=] { return make_plans(sizes); }},
          {"moves-bf16", [=] { return make_moves<bf16>(sizes); }},
          {"moves-f32", [=] { return make_moves<float>(sizes); }}};
}

}  // namespace switchyard::bench
