// Chapter 3: one token's gradient, by hand and by machine; six tokens' gates, checked; what a history costs.
// --detach: the gates lose their history.
#include "autograd/gradcheck.h"

using namespace switchyard;

namespace {

//@begin watch
// The identity; on the way back it prints the gradient that passes.
Var watch(const char* name, const Var& x) {
  return make("watch", x.value(), {x}, [name](Node& n) {
    fmt::print("  backward passes {:4} gradient {}\n", name, n.grad.item());
    n.inputs[0].accumulate(n.grad);
  });
}
//@end watch

Var number(double x) { return Var(Tensor::full({1}, x, Dtype::f64), true); }

void one_token() {
  const Var p = number(0.75), u = number(2), q = number(0.25), v = number(-1);
  const Var pu = watch("pu", multiply(p, u)), qv = watch("qv", multiply(q, v));
  const Var y = watch("y", add(pu, qv)), loss = watch("loss", multiply(y, y));
  fmt::print("y {}, loss {}\n", y.value().item(), loss.value().item());
  backward(loss);
  fmt::print("leaves: p {}, u {}, q {}, v {}\n", p.grad().item(), u.grad().item(), q.grad().item(), v.grad().item());
}

//@begin weighted
// x (T, C), the router's weight (E, C), two answers a token (T, k)
Var weighted(const std::vector<Var>& in, bool detach) {
  const Var scores = softmax(linear(in[0], in[1]));  // (T, E)
  const Tensor best = top_k(scores.value(), 2);      // (T, k)
  Var gate = take_columns(scores, best);             // (T, k)
  if (detach) gate = Var(gate.value());
  return multiply(gate, in[2]);
}
//@end weighted

Var random(Shape shape, uint64_t stream) {
  std::vector<double> x(size_t(shape.count()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = normal({1, stream}, i);
  return Var(Tensor::from(x, shape, Dtype::f64), true);
}

// Bytes that `depth` operations on (6, 64) hold at the end of the forward pass.
int64_t bytes_held(int depth) {
  const int64_t before = pool_stats(Device::cpu).bytes_in_use;
  Var x = random({6, 64}, 3);
  for (int i = 0; i < depth; ++i) x = unary(Unary::silu, x);
  return pool_stats(Device::cpu).bytes_in_use - before;
}

}  // namespace

int main(int argc, char**) {
  const std::vector<Var> in = {random({6, 3}, 1), random({4, 3}, 2), random({6, 2}, 3)};
  const bool detach = argc > 1;
  if (!detach) one_token();
  const double error = gradcheck([&](auto& v) { return weighted(v, detach); }, in);
  fmt::print("worst relative error: {}\n", error < 1e-7 ? "below 1e-7" : fmt::format("{:.4f}", error));
  fmt::print("the router's weight has a gradient: {}\n", in[1].grad().defined());
  if (detach) return 0;
  for (int depth : {1, 10, 100}) {
    const int64_t recorded = bytes_held(depth);
    NoGrad no_grad;
    fmt::print("{:3} operations hold {:6} bytes, without history {}\n", depth, recorded, bytes_held(depth));
  }
  Var deep = number(1);
  for (int i = 0; i < 100000; ++i) deep = scale(deep, 1);
  backward(deep);
  fmt::print("100000 operations deep: done\n");
}
