// Chapter 23: the sum of a million numbers in the order in which blocks come, by the kernel, and by a plain loop.
// CUDA_EMULATOR_ORDER=shuffled CUDA_EMULATOR_SEED=1 changes who comes first.
#include "docs/lessons/device_lesson.cuh"

using namespace switchyard;
using namespace switchyard::gpu;

//@begin arrival
__global__ void arrival_kernel(const float* x, int* arrived, float* part) {
  const float total = block_sum<256>(x[global_index()]);
  if (threadIdx.x == 0) part[atomicAdd(arrived, 1)] = total;
}
//@end arrival

float plain_sum(const std::vector<float>& x) {
  float total = 0;
  for (float v : x) total += v;
  return total;
}

int show() {
  const int n = 1 << 20;
  std::vector<float> x(n);
  for (int i = 0; i < n; ++i) x[i] = uniform({1, 2}, i);  // those of chapter 2
  const OnDevice<float> in(x), y(1), part(n / 256);
  const OnDevice<int> arrived(std::vector<int>{0});
  launch(arrival_kernel, n / 256, 256, 0, stream(), in.data(), arrived.data(), part.data());
  kernels<float>(Device::cuda).sum(n, in.data(), y.data());
  const float arrival = plain_sum(part.read());
  return std::printf("by arrival %.3f, kernel %.3f, plain loop %.3f\n", arrival, y.read()[0], plain_sum(x)), 0;
}

int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", show}}); }
