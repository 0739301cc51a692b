// Planted bugs: small kernels as somebody could have written them, with one mistake each. What is right and what is
// wrong stand in one text: `right` is a template parameter. tests/cuda_emulator/test_planted_bugs.cpp runs both.
#pragma once
#include <string>
#include <vector>

#include "tests/cuda_emulator/launch.h"

namespace planted {

using cuda_emulator_tests::Array;
using Floats = std::vector<float>;

constexpr unsigned whole = 0xffffffff;

// How one build of the emulator notices a bug: with the threads forward, in reverse and shuffled, R if it must report
// it, w if at least the result must be wrong, - if it may go unnoticed. All `words` stand in the report; @ stands for
// the file and the line that ends with "// bug: NAME".
struct Noticed {
  const char* orders;
  std::vector<std::string> words = {};
};

struct Bug {
  const char *name, *file;
  Floats (*run)(bool right);  // the result
  Noticed plain, asan, checker;
};
std::vector<Bug> memory_bugs();
std::vector<Bug> address_bugs();
std::vector<Bug> thread_bugs();
std::vector<Bug> copy_bugs();
std::vector<Bug> warp_bugs();
std::vector<Bug> host_bugs();

// 1, 2, 3, ... n.
inline Floats counting(int n) {
  Floats x(n);
  for (int i = 0; i < n; ++i) x[i] = static_cast<float>(i + 1);
  return x;
}

// Runs kernel<<<grid, block, shared_bytes>>>(arguments) to its end; an error code becomes a report.
template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  const cudaError_t error =
      cuda_emulator_tests::launch(kernel, grid, block, shared_bytes, nullptr, std::forward<Arguments>(arguments)...);
  if (error != cudaSuccess) throw cuda_emulator::Error(std::string("launch: ") + cudaGetErrorName(error));
  cudaDeviceSynchronize();
}

// y[0 .. n-1] of kernel<<<1, threads>>>(x, y), where x is 1, 2, 3 ... and y is 0.
template <class Kernel>
Floats result_of(Kernel kernel, int threads, int n) {
  const Array<float> x(counting(1024)), y(Floats(static_cast<size_t>(n)));
  run(kernel, 1, threads, 0, x.data(), y.data());
  return y.read();
}

}  // namespace planted
