// What the parts of bench_device share: the cases, and arrays on the device.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/cuda/device.h"
#include "tensor/dtype.h"
#include "tests/bench/device_timer.h"

namespace switchyard::bench {

// One line of the report. flops and bytes are the least that the work needs: inputs read once, outputs written once.
struct Case {
  std::string name;
  double flops = 0, bytes = 0;
  std::function<void()> run, rival;  // the rival: the same work by another, or none
};

// What a group is measured against: the rate at which the device multiplies, or the one at which it copies.
enum class Bound : uint8_t { arithmetic, memory };

// Cases that are run in turn, round by round, so that a slow moment hits all alike.
struct Group {
  std::string title;
  Bound bound;
  Dtype dtype;
  std::string rival;  // whose the rivals are: "cuBLAS"; empty: nobody's
  std::vector<Case> cases = {};
};

// A group that allocates its arrays when its turn comes.
struct Section {
  std::string id;  // for --only
  std::function<Group()> make;
};

// How large everything is: tiny for trying the program on an emulated device.
enum class Scale : uint8_t { tiny, quick, full };
struct Sizes {
  Scale scale = Scale::full;
  int64_t pick(int64_t tiny, int64_t quick, int64_t full) const {
    return scale == Scale::tiny ? tiny : scale == Scale::quick ? quick : full;
  }
};

std::vector<Section> matrix_sections(const Sizes& sizes);
std::vector<Section> attention_sections(const Sizes& sizes);
std::vector<Section> row_sections(const Sizes& sizes);
std::vector<Section> routing_sections(const Sizes& sizes);

// Elements on the device. Copies share them, so that a case's lambda keeps what it works on.
template <class T>
class Array {
 public:
  explicit Array(int64_t n) : memory_(device_memory(static_cast<size_t>(n) * sizeof(T))) {}
  operator T*() const { return static_cast<T*>(memory_.get()); }  // NOLINT: stands for its pointer

 private:
  std::shared_ptr<void> memory_;
};

// Uniform numbers between -1 and 1: times on zeros flatter a device, which then draws less power.
template <class T>
Array<T> random_array(int64_t n, uint64_t seed) {
  Array<T> x(n);
  const Kernels<T>& k = gpu::table<T>();
  k.fill(n, T(0x1p-10f), x);
  k.jitter(n, 0x1p10, {seed, 1}, x, x);  // 2^-10 (1 + 2^10 u), u between -1 and 1
  return x;
}
inline Array<int32_t> int_array(const std::vector<int32_t>& values) {
  Array<int32_t> x(static_cast<int64_t>(values.size()));
  gpu::copy_to_device(x, values.data(), values.size() * sizeof(int32_t));
  return x;
}

}  // namespace switchyard::bench
