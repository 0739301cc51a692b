// The eight tile registers of AMX, 16 rows of 64 bytes each, as the processor has them and in plain loops. A thread
// must have configured its tiles: HardwareTiles does so when it is made, and lets go of them in the end, so that the
// kernel need not save 8 KiB at the next switch of threads.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18; volume 2, TDPBF16PS.
#pragma once
#include "tensor/cpu/simd.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

#if defined(__x86_64__)
struct HardwareTiles {
  HardwareTiles() {
    struct alignas(64) {  // palette 1: eight tiles of up to 16 x 64 bytes
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } configuration;
    static_assert(sizeof configuration == 64);
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ~HardwareTiles() { asm volatile("tilerelease"); }
  HardwareTiles(const HardwareTiles&) = delete;

  template <int t>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(t));
  }
  // 16 rows of 64 bytes, `stride` bytes apart.
  template <int t>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(t) : "memory");
  }
  template <int t>
  void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(t) : "memory");
  }
  // c (16 x 16 floats) += a (16 x 32 bf16) b (32 x 16 bf16, two rows to a row of the tile).
  template <int c, int a, int b>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
};
#endif

struct EmulatedTiles {
  uint8_t tile[8][16][64];

  template <int t>
  void zero() {
    __builtin_memset(tile[t], 0, sizeof tile[t]);
  }
  template <int t>
  void load(const void* from, int64_t stride) {
    for (int64_t row = 0; row < 16; ++row)
      __builtin_memcpy(tile[t][row], static_cast<const char*>(from) + row * stride, 64);
  }
  template <int t>
  void store(void* to, int64_t stride) {
    for (int64_t row = 0; row < 16; ++row) __builtin_memcpy(static_cast<char*>(to) + row * stride, tile[t][row], 64);
  }
  // The even and the odd products are added up apart, in order of k, and the two sums then to c. What this leaves out:
  // the processor takes denormal operands for zero, and makes zero of denormal results.
  template <int c, int a, int b>
  void multiply() {
    //@begin emulated
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) {
        float sum[2] = {0, 0}, before;
        for (int k = 0; k < 32; ++k) {
          const float x = number<a>(m, k), y = number<b>(k / 2, 2 * n + k % 2);
          sum[k % 2] = __builtin_fmaf(x, y, sum[k % 2]);
        }
        __builtin_memcpy(&before, &tile[c][m][4 * n], sizeof before);
        const float after = before + (sum[0] + sum[1]);
        __builtin_memcpy(&tile[c][m][4 * n], &after, sizeof after);
      }
    //@end emulated
  }

 private:
  template <int t>
  float number(int row, int i) const {
    bf16 x;
    __builtin_memcpy(&x, &tile[t][row][2 * i], sizeof x);
    return x;
  }
};

}  // namespace switchyard::cpu::SWITCHYARD_ISA
