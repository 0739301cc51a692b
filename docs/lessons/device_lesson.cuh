// What lessons in CUDA share: arrays on the device, the comparison with a plain loop, and parts that a flag names.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/cuda/common.cuh"

namespace switchyard::gpu {

// Numbers on the device: exactly as many as asked for, so that the checker sees who reads beyond them.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(size_t n) : size_(n) { check_cuda(cudaMalloc(&data_, n * sizeof(T)), "array"); }
  explicit OnDevice(const std::vector<T>& from) : OnDevice(from.size()) {
    check_cuda(cudaMemcpy(data_, from.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "copy");
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {  // waits for the kernels, and throws what they did wrong
    std::vector<T> host(size_);
    check_cuda(cudaStreamSynchronize(stream()), "kernel");
    check_cuda(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "copy");
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// n small whole numbers, whose products and sums are exact in any order.
template <class T>
std::vector<T> whole_numbers(int n, unsigned seed) {
  std::vector<T> x;
  for (int i = 0; i < n; ++i) x.push_back(T(float((seed = seed * 1664525u + 1013904223u) >> 29) - 3.f));
  return x;
}

// c (M x N) = a (M x K) b, where b is K x N, or N x K if `transposed`.
template <class T>
std::vector<float> plain_product(int M, int N, int K, const std::vector<T>& a, const std::vector<T>& b,
                                 bool transposed) {
  std::vector<float> c;
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      float sum = 0;
      for (int k = 0; k < K; ++k) sum += float(a[m * K + k]) * float(b[transposed ? n * K + k : k * N + n]);
      c.push_back(sum);
    }
  return c;
}

// The first element of c, of N columns, that is not what it should be, in words; or nothing.
inline std::string difference(const std::vector<float>& c, const std::vector<float>& right, int N) {
  char text[100] = "";
  for (size_t i = 0; i < right.size() && !*text; ++i)
    if (!(c[i] == right[i]))
      std::snprintf(text, sizeof text, "row %d, column %d is %g, not %g", int(i) / N, int(i) % N,
                    std::isnan(c[i]) ? NAN : c[i], right[i]);
  return text;
}

// What f() and the kernels that it launches do wrong, in the checker's words; or nothing.
template <class F>
std::string complaint_about(F f) {
  try {
    f();
    check_cuda(cudaStreamSynchronize(stream()), "kernel");
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

// The text in lines of at most 78 columns.
inline std::string wrapped(std::string text) {
  for (size_t begin = 0; text.size() - begin > 78; ++begin) {
    begin = text.rfind(' ', begin + 78);
    if (begin == std::string::npos) break;
    text[begin] = '\n';
  }
  return text;
}

// Tries an exercise at each size until wrong_at(rows, cols) says what is wrong there. Returns the exit code.
inline int verdict(std::string (*wrong_at)(int, int), std::initializer_list<std::pair<int, int>> sizes) {
  for (const auto& [rows, cols] : sizes)
    if (const std::string wrong = wrong_at(rows, cols); !wrong.empty())
      return std::printf("%d x %d: %s\n", rows, cols, wrong.c_str()), 2;
  return std::printf("passed\n"), 0;
}

// In how many turns shared memory serves a warp whose lanes want `bytes` (4 or 16) at these bytes of it: as many lanes
// at a time as make 128 bytes, and in each turn each of 32 banks gives one word of 4 bytes.
inline int bank_turns(const std::vector<int>& place, int bytes) {
  int turns = 0;
  for (int first = 0; first < 32; first += 128 / bytes) {
    std::set<int> words[32];
    size_t most = 0;
    for (int lane = first; lane < first + 128 / bytes; ++lane)
      for (int word = place[lane] / 4; word < (place[lane] + bytes) / 4; ++word) words[word % 32].insert(word);
    for (const std::set<int>& wanted : words) most = std::max(most, wanted.size());
    turns += int(most);
  }
  return turns;
}

// Runs the part of a lesson that the flag names; the first one needs none. A part returns the exit code.
struct Part {
  std::string_view flag;
  int (*run)();
};
inline int run_lesson(int argc, char** argv, std::initializer_list<Part> parts) {
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  std::string flags;
  for (const Part& part : parts) {
    if (part.flag == wanted) return part.run();
    if (!part.flag.empty()) flags += std::string(part.flag) + " or ";
  }
  std::fprintf(stderr, "error: %s: must be %snothing\n", argv[1], flags.c_str());
  return 2;
}

}  // namespace switchyard::gpu
