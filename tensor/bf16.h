// bfloat16: the upper half of a float, the same range with 8 bits of precision (relative rounding error up to 2^-8).
// It is stored and multiplied, never added up: arithmetic converts to float first. Conversions are always inlined, for
// the CPU's kernel files are compiled once for each instruction set (tensor/cpu/simd.h).
#pragma once
#include <cstdint>
#include <type_traits>

#include "tensor/host_device.h"

namespace switchyard {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  // To nearest, ties to even; NaN stays NaN. The float's upper 16 bits, plus one if the lower half says so.
  [[gnu::always_inline]] HOST_DEVICE explicit bf16(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));  // the same, as one instruction
#else
    const uint32_t u = __builtin_bit_cast(uint32_t, x);
    bits = (u & 0x7fffffff) > 0x7f800000 ? uint16_t(0x7fff) : uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
#endif
  }
  [[gnu::always_inline]] HOST_DEVICE explicit bf16(double x) : bf16(float(x)) {}
  [[gnu::always_inline]] HOST_DEVICE operator float() const { return __builtin_bit_cast(float, uint32_t{bits} << 16); }
};
static_assert(sizeof(bf16) == 2 && std::is_trivially_copyable_v<bf16>);

// What statistics, gates, losses and weights are kept in beside activations of type T.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

}  // namespace switchyard
