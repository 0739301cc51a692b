// The matrix products: the ladder beside cuBLAS, the shapes of training, and the experts' beside one dense product.
#include <fmt/format.h>

#include <numeric>

#include "tensor/cuda/gemm.h"
#include "tests/bench/cublas.h"
#include "tests/bench/device_bench.h"

namespace switchyard::bench {
namespace {

using gpu::GemmStep;

constexpr std::pair<GemmStep, const char*> ladder[] = {{GemmStep::naive, "naive"},
                                                       {GemmStep::tiled, "tiled"},
                                                       {GemmStep::registers, "registers"},
                                                       {GemmStep::pipelined, "pipelined"},
                                                       {GemmStep::tensor_cores, "tensor cores"},
                                                       {GemmStep::hopper, "hopper"}};

double work(int64_t M, int64_t N, int64_t K) { return 2.0 * double(M) * double(N) * double(K); }
template <class T>
double traffic(int64_t M, int64_t N, int64_t K) {
  return sizeof(T) * (double(M) * double(K) + double(K) * double(N) + double(M) * double(N));
}

// The product by a step of the ladder, or by what the library takes.
template <class T>
Case product(std::optional<std::pair<GemmStep, const char*>> step, bool ta, bool tb, int64_t M, int64_t N, int64_t K) {
  const Array<T> a = random_array<T>(M * K, 1), b = random_array<T>(K * N, 2), c(M * N);
  Case made{fmt::format("{}{} x {} x {}{}", step ? std::string(step->second) + ", " : "", M, N, K,
                        ta   ? ", A transposed"
                        : tb ? ", B transposed"
                             : ""),
            work(M, N, K), traffic<T>(M, N, K), nullptr, nullptr};
  if (step)
    made.run = [=, which = step->first] { gpu::gemm_step<T, T>(which, ta, tb, M, N, K, a, b, false, c); };
  else
    made.run = [=] { gpu::table<T>().gemm(ta, tb, M, N, K, a, b, false, c); };
  if (const Cublas* cublas = Cublas::find())
    made.rival = [=] { cublas->gemm(ta, tb, M, N, K, a.operator T*(), b.operator T*(), c.operator T*()); };
  return made;
}

// Every step at a size that the slowest can bear, and the fast ones where there is enough work for all of the device.
template <class T>
Group make_ladder(const Sizes& sizes) {
  Group group{fmt::format("the ladder, {}", name(dtype_of<T>())), Bound::arithmetic, dtype_of<T>(), "cuBLAS"};
  const int64_t small = sizes.pick(64, 2048, 2048);
  for (const auto& step : ladder) {
    if (gpu::usable_step<T>(step.first, true) != step.first) continue;
    group.cases.push_back(product<T>(step, false, true, small, small, small));
    if (step.first < GemmStep::registers) continue;
    for (int64_t size : {sizes.pick(96, 4096, 4096), sizes.pick(0, 0, sizeof(T) == 2 ? 8192 : 0)})
      if (size > 0) group.cases.push_back(product<T>(step, false, true, size, size, size));
  }
  return group;
}

// What a layer of width 768 with experts of 2048 multiplies: forward, the input's gradient, the weights' gradient.
template <class T>
Group make_shapes(const Sizes& sizes) {
  Group group{fmt::format("a training step's products, {}", name(dtype_of<T>())), Bound::arithmetic, dtype_of<T>(),
              "cuBLAS"};
  const int64_t rows = sizes.pick(64, 8192, 16384), C = sizes.pick(32, 768, 768), V = sizes.pick(72, 50304, 50304);
  for (int64_t N : {3 * C, C, V}) {
    group.cases.push_back(product<T>({}, false, true, rows, N, C));
    group.cases.push_back(product<T>({}, false, false, rows, C, N));
    group.cases.push_back(product<T>({}, true, false, N, C, rows));
  }
  for (int64_t few : {1, 8, 32}) group.cases.push_back(product<T>({}, false, true, few, 3 * C, C));
  return group;
}

// Where each expert's slots begin: even shares, or the e-th expert with 1 / (e + 1) of the first one's.
std::vector<int32_t> offsets(int64_t N, int64_t E, bool skewed) {
  std::vector<double> share(static_cast<size_t>(E), 1.0);
  for (size_t e = 0; skewed && e < share.size(); ++e) share[e] = 1.0 / double(e + 1);
  const double total = std::accumulate(share.begin(), share.end(), 0.0);
  std::vector<int32_t> offset{0};
  double sum = 0;
  for (double s : share) offset.push_back(static_cast<int32_t>(double(N) * (sum += s) / total + 0.5));
  offset.back() = static_cast<int32_t>(N);
  return offset;
}

// One expert layer, each of its three products beside a single dense one with as much to multiply.
template <class T>
void add_layer(Group& group, int64_t N, int64_t E, int64_t out, int64_t in, bool skewed) {
  const Kernels<T>& k = gpu::table<T>();
  std::vector<int32_t> rows(static_cast<size_t>(N));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = int32_t(i * 7919 % (rows.size() / 2));  // top-2: N / 2 tokens
  const Array<int32_t> offset = int_array(offsets(N, E, skewed)), row = int_array(rows);
  const Array<T> x = random_array<T>(N * in, 1), w = random_array<T>(E * out * in, 2), y = random_array<T>(N * out, 3);
  const Array<T> dx(N * in);
  const Array<Wide<T>> dw(E * out * in);
  const double flops = work(N, out, in), bytes = traffic<T>(N, out, in) + sizeof(T) * double((E - 1) * out * in);
  const std::string what = fmt::format("{} slots, {} experts {}, {} -> {}", N, E, skewed ? "skewed" : "even", in, out);
  group.cases.push_back({"forward " + what, flops, bytes,
                         [=, &k] { k.grouped_forward(N, E, out, in, offset, row, x, w, y); },
                         [=, &k] { k.gemm(false, true, N, out, in, x, w, false, y); }});
  group.cases.push_back({"dX      " + what, flops, bytes,
                         [=, &k] { k.grouped_backward_input(N, E, out, in, offset, y, w, dx); },
                         [=, &k] { k.gemm(false, false, N, in, out, y, w, false, dx); }});
  group.cases.push_back({"dW      " + what, flops, bytes,
                         [=, &k] { k.grouped_backward_weight(N, E, out, in, offset, row, y, x, dw); },
                         [=, &k] { k.gemm_wide(true, false, out, in, N, y, x, false, dw); }});
}

template <class T>
Group make_grouped(const Sizes& sizes) {
  Group group{fmt::format("experts, {}", name(dtype_of<T>())), Bound::arithmetic, dtype_of<T>(), "one dense product"};
  const int64_t N = sizes.pick(128, 16384, 32768), C = sizes.pick(32, 768, 768), F = sizes.pick(48, 2048, 2048);
  for (bool skewed : {false, true}) {
    add_layer<T>(group, N, 8, 2 * F, C, skewed);
    add_layer<T>(group, N, 8, C, F, skewed);
  }
  add_layer<T>(group, N, sizes.pick(16, 64, 64), F, C, true);
  return group;
}

}  // namespace

std::vector<Section> matrix_sections(const Sizes& sizes) {
  return {{"gemm-ladder-bf16", [=] { return make_ladder<bf16>(sizes); }},
          {"gemm-ladder-f32", [=] { return make_ladder<float>(sizes); }},
          {"gemm-shapes-bf16", [=] { return make_shapes<bf16>(sizes); }},
          {"gemm-shapes-f32", [=] { return make_shapes<float>(sizes); }},
          {"grouped-bf16", [=] { return make_grouped<bf16>(sizes); }},
          {"grouped-f32", [=] { return make_grouped<float>(sizes); }}};
}

}  // namespace switchyard::bench
