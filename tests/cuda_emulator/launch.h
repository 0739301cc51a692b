// For the emulator's own tests.
#pragma once
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace cuda_emulator_tests {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...);
}

// An array on the device, for as long as this lives.
template <class T>
class Array {
 public:
  explicit Array(size_t n) : size_(n) { REQUIRE(cudaMalloc(&data_, n * sizeof(T)) == cudaSuccess); }
  explicit Array(const std::vector<T>& from) : Array(from.size()) {
    REQUIRE(cudaMemcpy(data_, from.data(), size_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~Array() { CHECK(cudaFree(data_) == cudaSuccess); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> host(size_);
    REQUIRE(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// What the emulator said about it, or nothing.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
    cudaDeviceSynchronize();
  } catch (const cuda_emulator::Error& e) {
    return e.what();
  }
  return {};
}

// Runs f in each order of the threads, and some random ones.
template <class F>
void in_all_orders(F&& f) {
  using cuda_emulator::Order;
  const Order before = cuda_emulator::order();
  for (int turn = 0; turn < 5; ++turn) {
    CAPTURE(turn);
    cuda_emulator::set_order(turn == 0 ? Order::forward : turn == 1 ? Order::reverse : Order::shuffled, turn + 1);
    f();
  }
  cuda_emulator::set_order(before);
}

}  // namespace cuda_emulator_tests
