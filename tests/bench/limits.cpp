#include "tests/bench/limits.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <limits>

#include "tensor/cpu/parallel.h"
#include "tensor/error.h"
#include "tests/bench/gemm_ladder.h"

namespace switchyard::bench {
namespace {

namespace simd = cpu::SWITCHYARD_ISA;
using Vector = simd::Vec<float>;
constexpr int64_t lanes = simd::lanes<float>, unroll = 8, stride = unroll * lanes;

// Large pages, so that what is measured is not how fast addresses are translated.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(data_ != MAP_FAILED, "out of memory: {} MB are needed to measure its bandwidth", bytes >> 20);
#ifdef MADV_HUGEPAGE
    madvise(data_, bytes, MADV_HUGEPAGE);
#endif
  }
  ~Memory() { munmap(data_, bytes_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  float* data() const { return static_cast<float*>(data_); }

 private:
  void* data_;
  size_t bytes_;
};

// Keeps the compiler from dropping a pass whose result nobody reads.
void keep(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

// n is a multiple of `stride` in all three.
void read_pass(int64_t n, const float* x) {
  Vector sum[unroll] = {};
  for (int64_t i = 0; i < n; i += stride)
#pragma GCC unroll 8
    for (int64_t j = 0; j < unroll; ++j) sum[j] += simd::load(x + i + j * lanes);
#pragma GCC unroll 8
  for (int64_t j = 1; j < unroll; ++j) sum[0] += sum[j];
  keep(sum);
}
void copy_pass(int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; i += stride)
#pragma GCC unroll 8
    for (int64_t j = 0; j < stride; j += lanes) simd::store(y + i + j, simd::load(x + i + j));
  keep(y);
}
void triad_pass(int64_t n, const float* x, const float* y, float* z) {
  for (int64_t i = 0; i < n; i += stride)
#pragma GCC unroll 8
    for (int64_t j = 0; j < stride; j += lanes)
      simd::store(z + i + j, simd::load(x + i + j) + 0.5f * simd::load(y + i + j));
  keep(z);
}

// Bytes a second that all threads move through `bytes` bytes each, cut into as many arrays as a pass has.
double bandwidth(int threads, const Memory& memory, int64_t bytes, int arrays) {
  // Arrays a multiple of 4096 bytes apart would hinder each other in level 1: a load waits for the store of an address
  // with the same low bits.
  constexpr int64_t apart = 21 * 16;
  const int64_t each = bytes / 4, n = (each / arrays - apart) / stride * stride;
  int64_t passes = 1;
  auto work = [&](int64_t thread) {
    float *const x = memory.data() + thread * each, *const y = x + n + apart, *const z = y + n + apart;
    for (int64_t pass = 0; pass < passes; ++pass) {
      if (arrays == 1) read_pass(n, x);
      if (arrays == 2) copy_pass(n, x, y);
      if (arrays == 3) triad_pass(n, x, y, z);
    }
  };
  const double once = calls_per_second([&] { cpu::parallel_for(threads, work); });
  passes = std::max<int64_t>(1, int64_t(once * 1e-3));  // a call of a millisecond, or waking the threads would count
  const double calls = passes == 1 ? once : calls_per_second([&] { cpu::parallel_for(threads, work); });
  return calls * double(passes * n * arrays * threads) * sizeof(float);
}

struct Samples {
  std::vector<double> rate, peak;
  void add(int threads, double x) { rate.push_back(x), peak.push_back(yardstick(threads)); }
  Rate result() const { return {median(rate), median_ratio(rate, peak)}; }
};

// What is measured of a level, and how much memory each thread goes through for it.
struct Place {
  Level level;
  int64_t bytes;
  Samples samples[3] = {};
};

std::vector<Place> places(int threads) {
  std::vector<Place> list;
  const std::vector<int64_t> sizes = cache_sizes();
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t all = sizes[i] * (i < 2 ? threads : 1);
    list.push_back({{fmt::format("L{}", i + 1), double(all)}, all / 2 / threads});
  }
  const int64_t last = sizes.empty() ? 0 : sizes.back();
  const int64_t beyond = std::clamp<int64_t>(4 * last, int64_t{64} << 20, int64_t{1} << 30);
  list.push_back({{"DRAM", std::numeric_limits<double>::infinity()}, beyond / threads});
  for (Place& place : list) place.bytes = place.bytes / 4096 * 4096;
  return list;
}

}  // namespace

double calls_per_second(const std::function<void()>& f, double least) {
  using Clock = std::chrono::steady_clock;
  f();
  for (int64_t n = 1;; n *= 2) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < n; ++i) f();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds > least) return double(n) / seconds;
  }
}

// In more pieces than threads, as the kernels do: where a neighbour takes half of a core, the others take its work.
double yardstick(int threads, double least) {
  constexpr int64_t steps = 4000;
  const int64_t pieces = 8 * threads;
  std::vector<float> sink(static_cast<size_t>(pieces) * 16);
  auto work = [&](int64_t i) { sink[size_t(i) * 16] = simd::ladder::fma_loop<float>(steps); };
  return calls_per_second([&] { cpu::parallel_for(pieces, work); }, least) * double(pieces * steps) *
         simd::ladder::fma_loop_flops<float>;
}

std::vector<int64_t> cache_sizes(const std::filesystem::path& folder) {
  int64_t sizes[4] = {};  // by level, from 1 on
  for (int i = 0; i < 8; ++i) {
    const auto word = [&](const char* file) {
      std::string text;
      std::ifstream(folder / fmt::format("index{}", i) / file) >> text;
      return text;
    };
    const int64_t level = parse_size(word("level")).value_or(0);
    if (level < 1 || level > 3 || word("type") == "Instruction") continue;
    sizes[level] = parse_size(word("size")).value_or(0);
  }
#ifdef _SC_LEVEL1_DCACHE_SIZE
  if (sizes[1] == 0) {
    constexpr int names[] = {0, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
    for (int level = 1; level <= 3; ++level) sizes[level] = std::max(0L, sysconf(names[level]));
  }
#endif
  std::vector<int64_t> known;
  for (int level = 1; level <= 3 && sizes[level] > 0; ++level) known.push_back(sizes[level]);
  return known;
}

Limits measure_limits(int threads, int rounds) {
  std::vector<Place> list = places(threads);
  const Memory memory(static_cast<size_t>(list.back().bytes) * static_cast<size_t>(threads));
  // Each thread touches its part first: then it lies in the memory next to it.
  cpu::parallel_for(threads, [&](int64_t i) {
    std::fill_n(memory.data() + i * (list.back().bytes / 4), list.back().bytes / 4, 1.0f);
  });
  Samples fma, dot, tile;
  for (int round = 0; round < rounds; ++round) {
    fma.add(threads, yardstick(threads));
    if (const auto rate = dot_rate(threads)) dot.add(threads, *rate);
    if (const auto rate = tile_rate(threads)) tile.add(threads, *rate);
    for (Place& place : list)
      for (int arrays : {1, 2, 3})
        place.samples[arrays - 1].add(threads, bandwidth(threads, memory, place.bytes, arrays));
  }
  Limits limits{.fma = {median(fma.rate), 1}};
  if (!dot.rate.empty()) limits.dot = dot.result();
  if (!tile.rate.empty()) limits.tile = tile.result();
  for (Place& place : list) {
    place.level.read = place.samples[0].result();
    place.level.copy = place.samples[1].result();
    place.level.triad = place.samples[2].result();
    limits.levels.push_back(place.level);
  }
  return limits;
}

}  // namespace switchyard::bench
