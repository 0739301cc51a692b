// Chapter 33: what binds an operation, multiply-adds or memory, on a machine with round numbers. --token: one token only.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace {

constexpr double flops_per_second = 480e9, bytes_per_second = 40e9;  // two cores with AVX-512, and their memory

//@begin bound
// Every number is read or written once: what a cache cannot save.
void print_bound(const char* name, double flops, double numbers) {
  const double bytes = 4 * numbers;
  const double math = 1e6 * flops / flops_per_second;
  const double memory = 1e6 * bytes / bytes_per_second;
  const char sign = math > memory ? '>' : '<';
  fmt::print("{:26} {:5.1f} FLOP/byte  ", name, flops / bytes);
  fmt::print("math {:6.0f} us {} memory {:5.0f} us\n", math, sign, memory);
}
//@end bound

}  // namespace

int main(int argc, char** argv) {
  const bool token = argc > 1 && !std::strcmp(argv[1], "--token");
  const double T = token ? 1 : 2048, C = 256, F = 512, E = 8, k = 2, params = 14.2e6;
  fmt::print("{:.0f} token{}, width 256, 8 experts of 512, each token goes to two\n", T, token ? "" : "s");
  print_bound("linear layer, 256 to 1024", 2 * T * C * 4 * C, T * C + 4 * C * C + T * 4 * C);
  print_bound("experts' first layer", 2 * T * k * C * 2 * F, T * C + std::min(E, T * k) * C * 2 * F + T * k * 2 * F);
  print_bound("SwiGLU", 10 * T * k * F, T * k * 3 * F);
  print_bound("adding to the residual", T * C, 3 * T * C);
  if (!token) print_bound("AdamW, 14.2 M weights", 12 * params, 7 * params);
}
