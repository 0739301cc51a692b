// What a machine can do at most: multiply-adds in registers, and bytes moved in each level of its memory.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/kernel_cost.h"

namespace switchyard::bench {

// A limit in operations or bytes a second, and as a multiple of the yardstick that ran beside it: the loop of f32
// multiply-adds. A machine that others use too is slower at one moment than at the next; multiples are not.
struct Rate {
  double absolute = 0, relative = 0;
};

struct Level {
  std::string name;        // L1, L2, L3, DRAM
  double bytes;            // what it holds, of all threads together
  Rate read, copy, triad;  // y = x in both directions counted, and z = x + s y in all three
  // The one whose share of writes is nearest to the call's: 0, 1/2 and 1/3.
  const Rate& of(const Cost& cost) const {
    const double share = cost.bytes() > 0 ? cost.written / cost.bytes() : 0;
    return share < 1 / 6.0 ? read : share < 5 / 12.0 ? triad : copy;
  }
};

struct Limits {
  Rate fma;                       // f32, flop/s
  std::optional<Rate> dot, tile;  // bf16: the vectors' dot products (AVX512_BF16), and AMX
  std::vector<Level> levels;      // from the smallest to DRAM, whose size is infinite
  // What a product of elements of that size can use.
  const Rate& products(size_t element) const {
    if (element != 2) return fma;
    return tile && (!dot || tile->relative > dot->relative) ? *tile : dot ? *dot : fma;
  }
};

// The least that a call can take, in the time of the yardstick's operations: by its arithmetic, or by its bytes in the
// smallest level that holds them all, whichever is more. `by`: the level's index, or -1 for arithmetic.
struct Bound {
  double yardstick_flops;
  int by;
};
inline Bound bound_of(const Cost& cost, size_t element, const Limits& limits) {
  const double arithmetic = cost.flops / limits.products(cost.product.M > 0 ? element : 4).relative;
  size_t level = 0;
  while (level + 1 < limits.levels.size() && cost.bytes() > limits.levels[level].bytes) ++level;
  const double memory = cost.bytes() / limits.levels[level].of(cost).relative;
  return memory > arithmetic ? Bound{memory, static_cast<int>(level)} : Bound{arithmetic, -1};
}

// "48K", "32M" or "512" in bytes, as Linux writes a cache's size; nullopt for what is no such thing.
inline std::optional<int64_t> parse_size(std::string_view text) {
  int64_t unit = 1, number = 0;
  if (text.ends_with('K')) unit = 1 << 10;
  if (text.ends_with('M')) unit = 1 << 20;
  if (unit > 1) text.remove_suffix(1);
  if (text.empty() || text.size() > 9) return std::nullopt;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = 10 * number + (c - '0');
  }
  return number * unit;
}
// Bytes of the first processor's data caches, level 1 first, from the folder where Linux lists them, else as sysconf
// says; without levels that neither knows.
std::vector<int64_t> cache_sizes(const std::filesystem::path& folder = "/sys/devices/system/cpu/cpu0/cache");

// Measures them with that many threads, `rounds` times each, which takes about 0.2 s a round. Level 1 and 2 are each
// core's own and count for every thread, level 3 counts once.
Limits measure_limits(int threads, int rounds);
// flop/s of all threads with nothing but f32 multiply-adds in registers, over at least so many seconds.
double yardstick(int threads, double least = 3e-3);

// bf16: what the vectors' dot products (AVX512_BF16) and AMX's tiles give in all threads, over some 3 ms; nullopt where
// the processor or the system has none.
std::optional<double> dot_rate(int threads);
std::optional<double> tile_rate(int threads);

inline double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}
// a / b of each round, and of them the median.
inline double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(ratios);
}
// Calls of f a second, over at least so many seconds, after one that is not counted.
double calls_per_second(const std::function<void()>& f, double least = 3e-3);

}  // namespace switchyard::bench
