// CUDA's device functions.
#pragma once
#include <math.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "tests/cuda_emulator/scheduler.h"

namespace cuda_emulator {

__extension__ typedef unsigned __int128 uint128;

// The bits of an atomic operation must not look like a plain read and a plain write to the access checker.
void note_atomic(const void* p, size_t bytes, const void* code);
void note_fence();
#define CUDA_EMULATOR_UNCHECKED __attribute__((no_sanitize("thread")))

template <class T, class Change>
CUDA_EMULATOR_UNCHECKED __attribute__((noinline)) T atomic(T* p, Change change) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>,
                "atomics on int, unsigned and unsigned long long only: those on floats depend on the order");
  note_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = change(old);
  return old;
}

template <class T>
struct Shuffle {
  T value;
  int source;  // lane
};
template <class T>
T shuffle(unsigned mask, T value, int source, const char* name, Location where) {
  static_assert(std::is_arithmetic_v<T>, "shuffles exchange numbers");
  Shuffle<T> mine{value, source};
  warp_operation(
      mask, name, &mine,
      [](void* const all[32], unsigned mask) {
        T given[32];
        std::memset(given, 0xff, sizeof given);  // of a lane outside the mask
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) given[lane] = static_cast<Shuffle<T>*>(all[lane])->value;
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) {
            auto* out = static_cast<Shuffle<T>*>(all[lane]);
            out->value = given[out->source];
          }
      },
      where);
  return mine.value;
}

template <class T>
struct Vote {
  T value;
  unsigned same;  // lanes
};
template <class T>
unsigned match(unsigned mask, T value, const char* name, Location where) {
  Vote<T> mine{value, 0};
  warp_operation(
      mask, name, &mine,
      [](void* const all[32], unsigned mask) {
        for (int lane = 0; lane < 32; ++lane)
          for (int other = 0; other < 32; ++other)
            if ((mask >> lane & 1) && (mask >> other & 1)) {
              auto* out = static_cast<Vote<T>*>(all[lane]);
              if (std::memcmp(&out->value, &static_cast<Vote<T>*>(all[other])->value, sizeof(T)) == 0)
                out->same |= 1U << other;
            }
      },
      where);
  return mine.same;
}
// The lanes of the mask whose predicate holds.
unsigned ballot(unsigned mask, bool predicate, const char* name, Location where);

}  // namespace cuda_emulator

// NOLINTBEGIN: CUDA's names
// Barriers.
inline void __syncthreads(cuda_emulator::Location where = cuda_emulator::Location::current()) {
  cuda_emulator::sync_threads(false, "__syncthreads", where);
}
inline int __syncthreads_count(int p, cuda_emulator::Location where = cuda_emulator::Location::current()) {
  return cuda_emulator::sync_threads(p, "__syncthreads_count", where);
}
inline int __syncthreads_or(int p, cuda_emulator::Location where = cuda_emulator::Location::current()) {
  return cuda_emulator::sync_threads(p, "__syncthreads_or", where) != 0;
}
inline int __syncthreads_and(int p, cuda_emulator::Location where = cuda_emulator::Location::current()) {
  return cuda_emulator::sync_threads(!p, "__syncthreads_and", where) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffff, cuda_emulator::Location where = cuda_emulator::Location::current()) {
  cuda_emulator::warp_operation(mask, "__syncwarp", nullptr, nullptr, where, true);
}
inline void __threadfence() { cuda_emulator::note_fence(); }
inline void __threadfence_block() {}

// Exchanges between the lanes of a warp. `width` divides the warp into segments that exchange on their own.
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              cuda_emulator::Location where = cuda_emulator::Location::current()) {
  const int first = cuda_emulator::lane_number() & ~(width - 1);
  return cuda_emulator::shuffle(mask, value, first | (lane & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_emulator::Location where = cuda_emulator::Location::current()) {
  const int self = cuda_emulator::lane_number(), source = self - static_cast<int>(delta);
  return cuda_emulator::shuffle(mask, value, source < (self & ~(width - 1)) ? self : source, "__shfl_up_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_emulator::Location where = cuda_emulator::Location::current()) {
  const int self = cuda_emulator::lane_number(), source = self + static_cast<int>(delta);
  return cuda_emulator::shuffle(mask, value, source > (self | (width - 1)) ? self : source, "__shfl_down_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  cuda_emulator::Location where = cuda_emulator::Location::current()) {
  const int self = cuda_emulator::lane_number(), source = self ^ bits;
  return cuda_emulator::shuffle(mask, value, source > (self | (width - 1)) ? self : source, "__shfl_xor_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, int p, cuda_emulator::Location w = cuda_emulator::Location::current()) {
  return cuda_emulator::ballot(mask, p != 0, "__ballot_sync", w);
}
inline int __any_sync(unsigned mask, int p, cuda_emulator::Location w = cuda_emulator::Location::current()) {
  return cuda_emulator::ballot(mask, p != 0, "__any_sync", w) != 0;
}
inline int __all_sync(unsigned mask, int p, cuda_emulator::Location w = cuda_emulator::Location::current()) {
  return cuda_emulator::ballot(mask, p == 0, "__all_sync", w) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, cuda_emulator::Location w = cuda_emulator::Location::current()) {
  return cuda_emulator::match(mask, value, "__match_any_sync", w);
}
// The hardware may let each lane run on its own, so a caller may count on no more than itself.
inline unsigned __activemask() { return 1U << cuda_emulator::lane_number(); }

// Atomics: integers only. All return the value before.
#define CUDA_EMULATOR_ATOMIC(name, change)                               \
  template <class T>                                                     \
  __forceinline__ T name(T* p, std::type_identity_t<T> value) {          \
    return cuda_emulator::atomic(p, [=](T old) -> T { return change; }); \
  }
CUDA_EMULATOR_ATOMIC(atomicAdd, old + value)
CUDA_EMULATOR_ATOMIC(atomicSub, old - value)
CUDA_EMULATOR_ATOMIC(atomicMax, old > value ? old : value)
CUDA_EMULATOR_ATOMIC(atomicMin, old < value ? old : value)
CUDA_EMULATOR_ATOMIC(atomicAnd, old& value)
CUDA_EMULATOR_ATOMIC(atomicOr, old | value)
CUDA_EMULATOR_ATOMIC(atomicXor, old ^ value)
CUDA_EMULATOR_ATOMIC(atomicExch, (static_cast<void>(old), value))
#undef CUDA_EMULATOR_ATOMIC
template <class T>
__forceinline__ T atomicCAS(T* p, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  return cuda_emulator::atomic(p, [=](T old) -> T { return old == compare ? value : old; });
}

// Loads and stores that only hint at a cache.
template <class T>
__forceinline__ T __ldg(const T* p) {
  return *p;
}
template <class T>
__forceinline__ T __ldcg(const T* p) {
  return *p;
}
template <class T>
__forceinline__ T __ldcs(const T* p) {
  return *p;
}
template <class T>
__forceinline__ void __stcg(T* p, std::type_identity_t<T> value) {
  *p = value;
}
template <class T>
__forceinline__ void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}

// Bits.
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(int64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<cuda_emulator::uint128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) << (n & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (n & 31));
}

// Arithmetic. The fast functions are the exact ones here; glibc's headers own some of the names.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __powf powf
#define __sincosf sincosf
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1 / sqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.f) : 0.f; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

#define CUDA_EMULATOR_MIN_MAX(T)                   \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
CUDA_EMULATOR_MIN_MAX(int)
CUDA_EMULATOR_MIN_MAX(unsigned)
CUDA_EMULATOR_MIN_MAX(long)
CUDA_EMULATOR_MIN_MAX(unsigned long)
CUDA_EMULATOR_MIN_MAX(long long)
CUDA_EMULATOR_MIN_MAX(unsigned long long)
#undef CUDA_EMULATOR_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
// NOLINTEND
