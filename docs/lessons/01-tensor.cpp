// Chapter 1: 24 numbers in a row, and what can be said of them without moving one.
// --forget: a tensor that nobody filled. --poison: the same, with new memory full of NaN.
#include <string>

#include "tensor/ops.h"

using namespace switchyard;

namespace {

// Six tokens, four experts: how well each token likes each expert.
const std::vector<double> numbers = {2.0, 1.0, 0.0,  -1.0,  //
                                     1.0, 0.0, 2.0,  0.0,   //
                                     0.0, 1.5, 1.5,  0.5,   //
                                     2.0, 0.0, 1.0,  0.0,   //
                                     1.0, 2.0, 0.0,  0.0,   //
                                     1.5, 0.5, -1.0, 0.5};

std::string list(const Tensor& x) {
  std::string text;
  for (double v : x.values()) text += fmt::format(" {}", v);
  return text;
}
void show(const char* what, const Tensor& x, const Tensor& base) {
  fmt::print("{:14} {:9} starts at byte {:2}:{}\n", what, x.shape().text(), x.raw() - base.raw(), list(x));
}

void views(const Tensor& scores) {
  fmt::print("scores {} {}, {} bytes\n", scores.shape().text(), name(scores.dtype()), scores.bytes());
  for (int64_t t = 0; t < 6; ++t) show(fmt::format("token {}", t).c_str(), scores.rows(t, t + 1), scores);
  const Tensor pair = scores.rows(2, 4), flat = pair.reshape({8});
  show("rows 2..3", pair, scores);
  show("as one axis", flat, scores);
  flat.data<float>()[1] = 9;
  fmt::print("9 written to element 1 of that: token 2, expert 1 is now {}\n", scores.values()[2 * 4 + 1]);
}

void pool() {
  const int64_t before = pool_stats(Device::cpu).system_calls;
  const void* first = Tensor({64, 100}).raw();  // dropped at once
  for (int step = 0; step < 1000; ++step) Tensor again({64, 100});
  const bool same = Tensor({64, 100}).raw() == first, near = Tensor({64, 102}).raw() == first;
  fmt::print("1002 tensors of 25600 bytes: {} call to the system, the same block: {}\n",
             pool_stats(Device::cpu).system_calls - before, same);
  fmt::print("a tensor of 26112 bytes: the same block: {}\n", near);
}

void dtypes() {
  for (Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::i32, Dtype::bf16})
    fmt::print("{:4} {:3} bytes for (6, 4)\n", name(dtype), Tensor({6, 4}, dtype).bytes());
  const std::vector<double> x = {1.0 / 3, 16777217};
  fmt::print("1/3 and 2^24 + 1 in f32: {:.17g} {:.0f}\n", Tensor::from(x, {2}).values()[0],
             Tensor::from(x, {2}).values()[1]);
}

//@begin load
Tensor load(const Tensor& experts, bool forget) {
  Tensor n = forget ? Tensor({4}) : Tensor::zeros({4});
  for (double e : experts.values()) n.data<float>()[size_t(e)] += 1;
  return n;  // (E)
}
//@end load

}  // namespace

int main(int argc, char** argv) {
  const std::string flag = argc > 1 ? argv[1] : "";
  const Tensor scores = Tensor::from(numbers, {6, 4});  // (T, E)
  if (flag.empty()) return views(scores), pool(), dtypes(), 0;
  const Tensor experts = top_k(scores, 2);  // (T, k)
  poison_new_storage(flag == "--poison");
  { const Tensor gone = Tensor::full({4}, 0.25); }  // dropped: its block waits in the pool, with what it holds
  fmt::print("tokens of each expert, forgotten zeros:{}\n", list(load(experts, true)));
  fmt::print("tokens of each expert, zeros:          {}\n", list(load(experts, false)));
}
