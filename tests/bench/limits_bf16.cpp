// What the processor's instructions for bf16 give, from registers alone. Each function is compiled for the instructions
// that it uses, whatever the rest is compiled for, and called only where the processor has them.
#include "tensor/cpu/parallel.h"
#include "tests/bench/limits.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define SWITCHYARD_X86_BF16
#endif

namespace switchyard::bench {

#ifdef SWITCHYARD_X86_BF16
namespace {

constexpr int64_t steps = 4000, pieces_per_thread = 8;  // as the yardstick

// 24 independent sums of 16 lanes, each lane a dot product of two pairs. They begin differently, or the compiler would
// keep but one of them.
constexpr double dot_flops = 24.0 * 16 * 2 * 2;
__attribute__((target("avx512f,avx512bf16"))) float dot_loop() {
  __m512 sum[24];
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) sum[i] = _mm512_set1_ps(float(i));
  __m512i ones = _mm512_set1_epi32(0x3f803f80);  // a pair of 1
  asm volatile("" : "+v"(ones));                 // unknown to the compiler, or it would add them up itself
  for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)ones, (__m512bh)ones);
#pragma GCC unroll 24
  for (int i = 1; i < 24; ++i) sum[0] += sum[i];
  return sum[0][0];
}

// Four independent tiles of 16 x 16 sums over 32 products each.
constexpr double tile_flops = 4.0 * 16 * 16 * 32 * 2;
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64, "the layout that LDTILECFG reads");

// The configuration belongs to the thread, so each loads and releases its own.
__attribute__((target("amx-tile,amx-bf16"))) void tile_loop() {
  const TileConfig config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t step = 0; step < steps; ++step) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

// Bits of CPUID's leaf 7; and the system must let this process have the 8 KB of tile registers, once for all threads.
bool has_tiles() {
  static const bool has = [] {
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16) && (d & amx_tile) &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return has;
}

}  // namespace

std::optional<double> dot_rate(int threads) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bf16")) return std::nullopt;
  const int64_t pieces = pieces_per_thread * threads;
  std::vector<float> sink(static_cast<size_t>(pieces) * 16);
  auto work = [&](int64_t i) { sink[size_t(i) * 16] = dot_loop(); };
  return calls_per_second([&] { cpu::parallel_for(pieces, work); }) * double(pieces * steps) * dot_flops;
}

std::optional<double> tile_rate(int threads) {
  if (!has_tiles()) return std::nullopt;
  const int64_t pieces = pieces_per_thread * threads;
  auto work = [](int64_t) { tile_loop(); };
  return calls_per_second([&] { cpu::parallel_for(pieces, work); }) * double(pieces * steps) * tile_flops;
}

#else

std::optional<double> dot_rate(int) { return std::nullopt; }
std::optional<double> tile_rate(int) { return std::nullopt; }

#endif

}  // namespace switchyard::bench
