// What a core can do at most: multiply-adds that wait for no memory, and reads that compute next to nothing.
#include "tensor/cpu/limits.h"

#include "tensor/cpu/simd.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

double multiply_add(int64_t steps, float* sink) {
  constexpr int chains = 24;  // sums that wait for none of the others: more than hide a multiply-add's latency
  Vec<float> sum[chains];
  const Vec<float> x = splat(0.5f), y = splat(1.0f);
#pragma GCC unroll 24
  for (int i = 0; i < chains; ++i) sum[i] = splat(float(i));
  for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * x + y;
#pragma GCC unroll 24
  for (int i = 1; i < chains; ++i) sum[0] += sum[i];
  sink[0] += sum_lanes<float>(sum[0]);
  return 2.0 * chains * lanes<float> * double(steps);
}

void read(int64_t n, const float* x, float* sink) {
  constexpr int64_t step = 8 * lanes<float>;
  Vec<float> sum[8] = {};
  for (int64_t i = 0; i + step <= n; i += step)
#pragma GCC unroll 8
    for (int64_t j = 0; j < 8; ++j) sum[j] += load(x + i + j * lanes<float>);
#pragma GCC unroll 8
  for (int j = 1; j < 8; ++j) sum[0] += sum[j];
  sink[0] += sum_lanes<float>(sum[0]);
}

}  // namespace

MeasuringLoops measuring_loops() { return {multiply_add, read}; }

}  // namespace switchyard::cpu::SWITCHYARD_ISA
