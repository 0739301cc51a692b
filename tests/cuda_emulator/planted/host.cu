// Planted bugs: what the host does.
#include <algorithm>

#include "tests/cuda_emulator/planted/planted.h"

namespace planted {
namespace {

__global__ void one_more(const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < 64) y[i] = x[i] + 1;
}
Floats with_grid(dim3 grid, dim3 block, size_t shared_bytes) {
  const Array<float> x(counting(64)), y(Floats(64));
  run(one_more, grid, block, shared_bytes, x.data(), y.data());
  return y.read();
}
Floats run_block_size(bool right) { return with_grid(1, right ? 1024 : dim3(1024, 2), 0); }
Floats run_grid_size(bool right) {
  const int n = 64;
  return with_grid(right ? (n + 127) / 128 : n / 128, 128, 0);
}
Floats run_shared_size(bool right) {
  if (right) cudaFuncSetAttribute(one_more, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10);
  return with_grid(1, 64, 64 << 10);
}

Floats run_read_by_host(bool right) {
  const Array<float> x(counting(64));
  if (right) return x.read();
  return {x.data(), x.data() + 64};
}

// The copy is only queued when the call returns.
Floats run_no_wait(bool right) {
  const Array<float> x(counting(64)), y(64);
  float* host = nullptr;
  cudaMallocHost(&host, 64 * sizeof(float));
  std::fill(host, host + 64, 0.F);
  cuda_emulator_tests::launch(one_more, 1, 64, 0, nullptr, x.data(), y.data());
  cudaMemcpyAsync(host, y.data(), 64 * sizeof(float), cudaMemcpyDeviceToHost, nullptr);
  if (right) cudaStreamSynchronize(nullptr);
  const Floats result(host, host + 64);
  cudaFreeHost(host);
  return result;
}

Floats run_direction(bool right) {
  const Array<float> y(64);
  const Floats x = counting(64);
  cudaMemcpy(y.data(), x.data(), 64 * sizeof(float), right ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost);
  return y.read();
}

Floats run_long_copy(bool right) {
  const Array<float> y(50);
  const Floats x = counting(64);
  cudaMemcpy(y.data(), x.data(), (right ? 50 : 64) * sizeof(float), cudaMemcpyHostToDevice);
  return y.read();
}

Floats run_leak(bool right) {
  float* y = nullptr;
  cudaMalloc(&y, 400);
  if (right) cudaFree(y);
  return {};
}

Floats run_second_free(bool right) {
  float* y = nullptr;
  cudaMalloc(&y, 400);
  cudaFree(y);
  if (!right) cudaFree(y);
  return {};
}

}  // namespace

std::vector<Bug> host_bugs() {
  const auto always = [](const char* name, Floats (*run)(bool), const char* report) {
    const Noticed noticed{"RRR", {report}};
    return Bug{name, __FILE__, run, noticed, noticed, noticed};
  };
  const Noticed touched{"R--", {"host code touched device memory"}};
  return {
      always("too many threads in a block", run_block_size, "launch: cudaErrorInvalidConfiguration"),
      always("a grid of no blocks", run_grid_size, "launch: cudaErrorInvalidConfiguration"),
      always("over 48 KiB of shared memory, unasked", run_shared_size, "launch: cudaErrorInvalidValue"),
      {"the host reads device memory", __FILE__, run_read_by_host, touched, {"---"}, touched},
      {"the host does not wait", __FILE__, run_no_wait, {"www"}, {"www"}, {"www"}},
      always("a copy in the wrong direction", run_direction,
             "cudaMemcpy: says device to host, but the pointers are host to device"),
      always("a copy longer than the allocation", run_long_copy,
             "cudaMemcpy: 256 bytes from byte 0 on, of an allocation of 200"),
      always("memory that nobody frees", run_leak, "never freed: device memory of 400 bytes"),
      always("a second free", run_second_free, "cudaFree: not the start of a live allocation"),
  };
}

}  // namespace planted
