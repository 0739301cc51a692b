// Chapter 14: the experts' matrix products of the six tokens, what an expert without tokens needs, and the time it
// takes.
#include <fmt/ranges.h>

#include <algorithm>

#include "docs/lessons/six_tokens.h"

using namespace switchyard;

Tensor numbers(Shape shape, uint64_t stream, Dtype dtype = Dtype::f32) {
  return Init({stream}, dtype).normal(shape, 1).value();
}

// The shapes of the three products, and how far the grouped ones are from a loop over experts.
void shapes() {
  const RoutingPlan plan = build_plan(six_selection(), 6, 4, {});
  const Var x(numbers({6, 4}, 1, Dtype::f64), true), w(numbers({4, 6, 4}, 2, Dtype::f64), true);
  const Var y = grouped_linear(x, w, plan, Rows::token);
  backward(sum(y));
  const std::span<const int32_t> offset = ints(plan.offset);
  fmt::print("expert  y = x W^T     dx = dy W     dW = dy^T x     error of y   dW of size\n");
  for (int64_t e = 0; e < 4; ++e) {
    const int64_t first = offset[size_t(e)], n = offset[size_t(e) + 1] - first;
    const Tensor rows = gather_rows(x.value(), plan.slot_token.rows(first, first + n)), mine = w.value().rows(e, e + 1);
    const Tensor loop = matmul(rows, false, mine.reshape({6, 4}), true);
    const double error = sum_squares(add(loop, scale(y.value().rows(first, first + n), -1))).item();
    fmt::print("{:6}  {} x 6 over 4   {} x 4 over 6   6 x 4 over {}   {:.0e}        {:.1f}\n", e, n, n, n, error,
               std::sqrt(sum_squares(w.grad().rows(e, e + 1)).item()));
  }
}

// New memory is full of NaNs, as a hard case of what it may hold; `careful` leaves out no expert.
void update(bool careful) {
  const RoutingPlan plan = build_plan(six_selection(), 6, 4, {});
  const Tensor x = numbers({6, 4}, 1, Dtype::f64), dy = numbers({12, 6}, 3, Dtype::f64);
  poison_new_storage(true);
  Tensor dw(Shape{4, 6, 4}, Dtype::f64);
  poison_new_storage(false);
  if (careful) dw = grouped_backward_weight(plan.offset, plan.slot_token, dy, x, dw.shape());
  const std::span<const int32_t> offset = ints(plan.offset);
  for (int64_t e = 0; e < 4 && !careful; ++e) {
    const int64_t first = offset[size_t(e)], last = offset[size_t(e) + 1];
    if (first == last) continue;  // nothing to do, it seems
    const Tensor rows = gather_rows(x, plan.slot_token.rows(first, last));
    const Tensor one = matmul(dy.rows(first, last), true, rows, false);
    std::copy_n(one.data<double>(), one.count(), dw.data<double>() + e * 24);
  }
  fmt::print("{:<26}", careful ? "grouped_backward_weight" : "a loop that skips");
  for (int64_t e = 0; e < 4; ++e) fmt::print(" {:>6.2f}", std::abs(std::sqrt(sum_squares(dw.rows(e, e + 1)).item())));
  fmt::print("   norm of all {:.2f}\n", std::abs(std::sqrt(sum_squares(dw).item())));
}

void update_both() { update(false), update(true); }

int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", shapes}, {"--empty", update_both}}); }
