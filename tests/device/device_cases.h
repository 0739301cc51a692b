// What the tests of the GPU's kernels share: agree() runs one body on the CPU and on the device and compares what comes
// out. In bf16 the CPU computes in f32 from inputs rounded to bf16, so what differs is the device's own rounding.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tensor/cuda/device.h"
#include "tensor/kernels.h"
#include "tensor/storage.h"

namespace switchyard::test {

using Floats = std::vector<float>;
using Ints = std::vector<int32_t>;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

// Around a warp, a block, and several blocks.
inline const std::vector<int64_t> ragged = {0, 1, 2, 3, 31, 32, 33, 127, 128, 129, 257, 1000, 5003};
inline const std::vector<int64_t> widths = {1, 2, 3, 4, 31, 32, 33, 64, 127, 129, 257};

// How far a number may be from the CPU's: the sum of these parts. Infinities and NaN must match in any case, and a
// result of type bf16 may be off by its one rounding besides.
struct Tolerance {
  double relative = 0;  // of the number wanted
  double of_peak = 0;   // of the largest finite number wanted in the whole output
  double absolute = 0;
  double of_size = 0;  // of `size`, element by element: the sum of the absolute values of what was added up
  Floats size = {};
};

// Copies, single roundings, sums in a given order, integers.
inline const Tolerance exact = {};
// A few roundings of 6e-8 each, or a multiplication and an addition fused.
inline const Tolerance elementwise = {.relative = 1e-6, .absolute = 1e-44};
// exp, log and what is made of them: the GPU's fast exponential is off by some roundings of its argument, up to 88. The
// CPU's is 0 where the result would be denormal (below 1.2e-38), here perhaps times an x of 100.
inline const Tolerance exponential = {.relative = 1e-5, .absolute = 2e-36};
// The same where terms near 1 cancel: slopes that pass through zero.
inline const Tolerance slope = {.relative = 1e-5, .absolute = 2e-6};
// A sum in another order: a few thousand terms, as many roundings, mostly of both signs.
inline Tolerance reduction(Floats size = {}) { return {.of_size = 1e-5, .size = std::move(size)}; }
// Of a bf16, relative: half a unit in the last of 8 binary places, and a hair.
constexpr double bf16_rounding = 0x1p-8 * 1.01;

// Normal numbers; another stream, other numbers.
inline Floats normals(int64_t n, uint64_t stream, double scale = 1) {
  Floats x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(scale * normal({7, stream}, i));
  return x;
}
// Whole numbers from lowest to highest, both included.
inline Ints random_ints(int64_t n, int32_t lowest, int32_t highest, uint64_t stream) {
  Ints x(static_cast<size_t>(n));
  Random random{{9, stream}};
  for (int32_t& value : x) value = int32_t(lowest + random.below(int64_t{highest} - lowest + 1));
  return x;
}
// Whole numbers of at most 4 bits: their products, and sums of thousands of them, are exact in f32 in any order.
inline Floats whole_numbers(int64_t n, uint64_t stream) {
  const Ints x = random_ints(n, -7, 7, stream);
  return {x.begin(), x.end()};
}
inline Floats absolute(Floats x) {
  for (float& v : x) v = std::abs(v);
  return x;
}

// Everything that a careless kernel trips over.
inline const Floats special = {0.0f,   -0.0f,  1.0f,  -1.0f,   1e-45f,   -1e-45f,   1e-39f,    1.2e-38f,   -3e-38f,
                               1e-30f, -1e-7f, 0.5f,  -1.278f, 5.0f,     -5.0f,     -9.0f,     13.0f,      -13.5f,
                               80.0f,  -80.0f, 88.5f, -87.0f,  89.0f,    -89.5f,    -103.0f,   1e4f,       -1e4f,
                               1e30f,  -1e30f, 3e38f, -3e38f,  infinity, -infinity, nan_value, -nan_value, 2.0f};

// An array in the memory of a device: `shift` elements, `count` elements that the kernel sees, and the rest of the
// block, which it must leave alone.
struct Block {
  std::shared_ptr<Storage> storage;
  size_t begin, bytes;         // what the kernel sees
  std::vector<uint8_t> image;  // of the whole block, before
  bool output;
  Tolerance tolerance;
};

// What became of one output.
struct Output {
  std::vector<double> values;
  std::vector<uint8_t> bytes;
  bool bf16;
  Tolerance tolerance;
};

// Whose kernels are compared with the CPU's in f32: the GPU's or, with --on-cpu, the CPU's own in bf16.
inline Device under_test = Device::cuda;

inline uint64_t& results_hash() {  // of all results so far: must not depend on the order of threads
  static uint64_t hash = 14695981039346656037u;
  return hash;
}

// One run of a body on one device. T is what the kernels compute in, Input what inputs are rounded to first. in() and
// its like copy to the device, out() and its like make a poisoned output; their results are compared in order.
template <class T, class Input>
class Run {
 public:
  // Every array begins `shift` elements into its block: as a tensor's rows may, without the alignment of a block.
  Run(Device device, int64_t shift) : kernel(kernels<T>(device)), device_(device), shift_(size_t(shift)) {}

  const Kernels<T>& kernel;

  const T* in(const Floats& x) { return place(converted<T>(x), {}, false, false); }
  const Wide<T>* wide(const Floats& x) { return place(converted<Wide<T>>(x, false), {}, false, false); }
  const int32_t* in(const Ints& x) { return place(x, {}, false, false); }
  const double* in(const std::vector<double>& x) { return place(x, {}, false, false); }
  T* out(int64_t n, Tolerance t = {}) { return place(std::vector<T>(size_t(n)), std::move(t), true, true); }
  Wide<T>* wide_out(int64_t n, Tolerance t = {}) { return place(Floats(size_t(n)), std::move(t), true, true); }
  int32_t* int_out(int64_t n) { return place(Ints(size_t(n)), {}, true, true); }
  double* double_out(int64_t n, Tolerance t = {}) {
    return place(std::vector<double>(size_t(n)), std::move(t), true, true);
  }
  T* in_out(const Floats& x, Tolerance t = {}) { return place(converted<T>(x), std::move(t), true, false); }
  Wide<T>* wide_in_out(const Floats& x, Tolerance t = {}) {
    return place(converted<Wide<T>>(x, false), std::move(t), true, false);
  }

  // Waits for the kernels, and checks that nothing beside the outputs has been written.
  std::vector<Output> results() {
    std::vector<Output> outputs;
    for (Block& block : blocks_) {
      std::vector<uint8_t> after(block.image.size());
      if (device_ == Device::cpu)
        std::memcpy(after.data(), block.storage->data, after.size());
      else
        gpu::copy_to_host(after.data(), block.storage->data, after.size());
      const auto first = after.begin() + std::ptrdiff_t(block.begin), last = first + std::ptrdiff_t(block.bytes);
      std::vector<uint8_t> bytes(first, last);
      if (block.output) std::copy_n(block.image.begin() + std::ptrdiff_t(block.begin), block.bytes, first);
      if (after != block.image)
        FAIL_CHECK("array " << &block - blocks_.data() << (block.output ? ": written outside" : ": an input, written"));
      if (block.output) outputs.push_back({{}, std::move(bytes), false, block.tolerance});
    }
    for (size_t i = 0; i < outputs.size(); ++i)
      outputs[i].values = read_[i](outputs[i].bytes), outputs[i].bf16 = bf16_[i];
    return outputs;
  }

 private:
  template <class Number>
  static std::vector<Number> converted(const Floats& x, bool round = true) {
    std::vector<Number> y;
    for (float v : x) y.push_back(Number(round ? float(Input(v)) : v));
    return y;
  }

  template <class Number>
  Number* place(const std::vector<Number>& x, Tolerance tolerance, bool output, bool poisoned) {
    const size_t begin = shift_ * sizeof(Number), bytes = x.size() * sizeof(Number);
    const size_t guard = output ? 64 * sizeof(Number) : 0;
    Block block{allocate(begin + bytes + guard, device_), begin, bytes, {}, output, std::move(tolerance)};
    // Around an input lies NaN, or the index -1; around an output something that no kernel writes.
    block.image.assign(block.storage->bytes, output ? 0xa5 : 0xff);
    if (poisoned)
      std::fill_n(block.image.begin() + std::ptrdiff_t(begin), bytes, uint8_t{0xff});
    else if (bytes)
      std::memcpy(block.image.data() + begin, x.data(), bytes);
    if (device_ == Device::cpu)
      std::memcpy(block.storage->data, block.image.data(), block.image.size());
    else
      gpu::copy_to_device(block.storage->data, block.image.data(), block.image.size());
    if (output) {
      read_.push_back([](const std::vector<uint8_t>& from) {
        std::vector<double> values(from.size() / sizeof(Number));
        for (size_t i = 0; i < values.size(); ++i) {
          Number number;
          std::memcpy(&number, from.data() + i * sizeof(Number), sizeof number);
          values[i] = double(number);
        }
        return values;
      });
      bf16_.push_back(std::is_same_v<Number, bf16>);
    }
    Number* const data = reinterpret_cast<Number*>(static_cast<char*>(block.storage->data) + begin);
    blocks_.push_back(std::move(block));
    return data;
  }

  Device device_;
  size_t shift_;
  std::vector<Block> blocks_;
  std::vector<std::vector<double> (*)(const std::vector<uint8_t>&)> read_;  // of each output
  std::vector<bool> bf16_;
};

// For a body that runs a step of the GPU's beside the table's kernel.
template <class T, class Input>
bool runs_on_device(const Run<T, Input>& run) {
  return under_test == Device::cuda && &run.kernel == &kernels<T>(Device::cuda);
}

// Whether element i still has the bytes that outputs are poisoned with.
inline bool untouched(const Output& output, size_t i) {
  const size_t size = output.bytes.size() / output.values.size();
  return std::all_of(&output.bytes[i * size], &output.bytes[i * size] + size, [](uint8_t b) { return b == 0xff; });
}

// The output's number `which` is named in the message, with the element that is furthest off.
inline void compare(size_t which, const Output& got, const Output& want) {
  const Tolerance& t = want.tolerance;
  const std::vector<double>& w = want.values;
  REQUIRE(got.values.size() == w.size());
  REQUIRE((t.size.empty() || t.size.size() == w.size()));
  double peak = 0, worst = 0;
  size_t where = 0;
  for (double v : w)
    if (std::isfinite(v)) peak = std::max(peak, std::abs(v));
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = got.values[i], rounded = got.bf16 ? double(float(bf16(w[i]))) : w[i];
    const bool left = std::isnan(w[i]) && untouched(want, i);
    if (left ? untouched(got, i) : g == rounded || (std::isnan(g) && std::isnan(rounded))) continue;
    double allowed = t.relative * std::abs(w[i]) + t.of_peak * peak + t.absolute;
    if (!t.size.empty()) allowed += t.of_size * double(t.size[i]);
    // Without any tolerance the rounded number itself is wanted.
    if (got.bf16 && allowed > 0) allowed += bf16_rounding * std::abs(w[i]) + 1e-40;
    const double excess = left || !std::isfinite(g) || allowed == 0 ? HUGE_VAL : std::abs(g - w[i]) / allowed;
    if (!(excess <= worst)) worst = excess, where = i;
  }
  if (worst <= 1) return;
  FAIL_CHECK("output " << which << ", element " << where << " of " << w.size() << " is " << got.values[where]
                       << ", not " << w[where] << ": " << worst << " times the tolerance");
}

inline void add_to_hash(const Output& output) {
  for (size_t i = 0; i < output.values.size(); ++i) {
    uint64_t bits;
    const double v = std::isnan(output.values[i]) ? 0.123 : output.values[i];  // any NaN is as good as another
    std::memcpy(&bits, &v, sizeof bits);
    results_hash() = (results_hash() ^ bits) * 1099511628211u;
  }
}

// How often agree() runs a body on the device: once; once more for the same bits; once more on arrays that are not
// aligned. Not every case of a long series needs all three.
enum Runs : uint8_t { once = 1, again = 1 | 2, shifted = 1 | 4, all = 1 | 2 | 4 };
inline Runs in_turn(uint64_t i) { return i % 4 == 1 ? again : i % 4 == 3 ? shifted : once; }

template <class T, class Body>
void agree(Body&& body, Runs runs = Runs::all) {
  Run<float, T> cpu(Device::cpu, 0);
  body(cpu);
  const std::vector<Output> want = cpu.results();
  std::vector<Output> first;
  for (int i = 0; i < 3; ++i) {
    if (!(runs >> i & 1)) continue;
    INFO("run ", i);
    Run<T, T> device(under_test, i == 2);
    body(device);
    std::vector<Output> got = device.results();
    REQUIRE(got.size() == want.size());
    for (size_t o = 0; o < got.size(); ++o) {
      if (i == 1) {
        if (got[o].bytes != first[o].bytes) FAIL_CHECK("output " << o << ": two runs, two results");
        continue;
      }
      compare(o, got[o], want[o]);
      add_to_hash(got[o]);
    }
    if (i == 0) first = std::move(got);
  }
}

// The first output of a body on the CPU: for sizes, by the same kernel from absolute values, and for inputs.
template <class T, class Body>
Floats on_cpu(Body&& body) {
  Run<float, T> cpu(Device::cpu, 0);
  body(cpu);
  const std::vector<Output> outputs = cpu.results();
  return {outputs.at(0).values.begin(), outputs.at(0).values.end()};
}

}  // namespace switchyard::test
