// Two ways to multiply bf16 panels without widening them, each a Micro for the driver in gemm.cpp as MultiplyAdd is:
// the dot products of AVX-512 (vdpbf16ps) and the tiles of AMX (tdpbf16ps). Both read op(B), and DotPairs op(A), as
// pairs: words of 32 bits that hold two successive k's of one line, the earlier one in the lower half.
#pragma once
#include "tensor/cpu/gemm_micro.h"

#if defined(__AVX512F__)
#define SWITCHYARD_BF16_PRODUCTS
#include <immintrin.h>

#include "tensor/cpu/amx_tiles.h"
#include "tensor/cpu/bf16_product.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

// 16 words of two memory rows that hold k and k + 1 of all lines: upper halves from `odd`.
[[gnu::always_inline]] inline FloatBits interleave(const bf16* even, const bf16* odd) {
  Halves low, high;
  __builtin_memcpy(&low, even, sizeof low);
  __builtin_memcpy(&high, odd, sizeof high);
  return __builtin_convertvector(low, FloatBits) | __builtin_convertvector(high, FloatBits) << 16;
}
// The same for what is left of a row, and where there is no next k; the rest is zero.
[[gnu::always_inline]] inline FloatBits interleave_part(const bf16* even, const bf16* odd, int64_t count) {
  FloatBits words{};
  for (int64_t i = 0; i < count && i < 16; ++i)
    words[i] = even[i].bits | (odd == nullptr ? 0 : uint32_t(odd[i].bits) << 16);
  return words;
}

// Lines first .. first+count-1 of m at k0 .. k0+n-1, in groups of `width` <= 16 V words: word i of group p holds the
// p-th pair of line i. Writes up to 16 words beyond the last group. Lines that are not there are numbers of no meaning.
template <int V>
void pack_pairs(const Operand<bf16>& m, int64_t first, int64_t count, int64_t width, int64_t k0, int64_t n, bf16* out) {
  if (m.along_k) {  // a line's pairs are words in memory: transpose squares of 16 x 16
    const bf16* from[16 * V];
    for (int64_t i = 0; i < 16 * V; ++i) from[i] = m.at(first + (i < count ? i : count - 1)) + k0;
    int64_t k = 0;
    for (; k + 32 <= n; k += 32)
      for (int v = V - 1; v >= 0; --v) {
        Vec<float> square[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) __builtin_memcpy(&square[i], from[v * 16 + i] + k, sizeof square[i]);
        transpose<float>(square);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
          __builtin_memcpy(out + (k / 2 + i) * 2 * width + v * 32, &square[i], sizeof square[i]);
      }
    for (; k < n; k += 2)
      for (int64_t i = 0; i < width; ++i) {
        out[k * width + 2 * i] = from[i][k];
        out[k * width + 2 * i + 1] = k + 1 < n ? from[i][k + 1] : bf16(0.0f);
      }
    return;
  }
  const bool inside = first + 16 * V <= m.stride;
  for (int64_t k = 0; k < n; k += 2) {
    const bf16 *even = m.at(k0 + k) + first, *odd = k + 1 < n ? m.at(k0 + k + 1) + first : nullptr;
    for (int v = 0; v < V && v * 16 < width; ++v) {
      const FloatBits words = inside && odd != nullptr
                                  ? interleave(even + v * 16, odd + v * 16)
                                  : interleave_part(even + v * 16, odd ? odd + v * 16 : odd, count - v * 16);
      __builtin_memcpy(out + k * width + v * 32, &words, sizeof words);
    }
  }
}

// Multiplies by vdpbf16ps: each lane adds the two products of a pair to a float.
struct DotPairs {
  using Element = bf16;
  using Packed = bf16;
  static constexpr int64_t rows = tile_rows, cols = tile_cols<float>;
  static constexpr bool reads_in_place = false;
  static constexpr int64_t k_unit = 2, k_chunk = 8;
  static constexpr int64_t size(int64_t width, int64_t K) { return width * round_up(K, 2) + 64; }
  static constexpr int64_t at(int64_t width, int64_t k) { return width * k; }
  static void pack_rows(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    pack_pairs<1>(m, first, count, count, k0, n, out);
  }
  static void pack_cols(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    pack_pairs<2>(m, first, count, cols, k0, n, out);
  }

  template <int R, class Out>
  [[gnu::target("avx512bf16")]] static void tile(int64_t K, const bf16* a, const bf16* b, int64_t width, bool add,
                                                 Out* c, int64_t c_stride, Ahead ahead) {
    //@begin dot-tile
    Vec<float> sum[R][2] = {};
    for (int64_t k = 0; k < K; k += 2, a += 2 * R, b += 2 * cols) {
      if (k % fetch_every == 0) ahead.fetch();
      const __m512bh b0 = pairs_at(b), b1 = pairs_at(b + cols);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        int32_t pair;
        __builtin_memcpy(&pair, a + 2 * r, sizeof pair);
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
      }
    }
    store_tile<R>(sum, width, add, c, c_stride);
    //@end dot-tile
  }
  template <int R = rows, class Out>
  static void multiply(int64_t height, int64_t K, const bf16* a, int64_t, const bf16* b, int64_t width, bool add,
                       Out* c, int64_t c_stride, Ahead ahead) {
    if constexpr (R > 0) {
      if (height == R) return tile<R>(K, a, b, width, add, c, c_stride, ahead);
      multiply<R - 1>(height, K, a, 0, b, width, add, c, c_stride, ahead);
    }
  }

 private:
  [[gnu::always_inline]] static __m512bh pairs_at(const bf16* p) { return (__m512bh)_mm512_loadu_si512(p); }
};

// Multiplies by tiles: 32 x 32 of C are four tiles of 16 x 16 floats, a tile of A is 16 lines x 32 k's, and a tile of B
// 16 pairs of k's x 16 lines. Panels are these tiles one after the other; what is not there is zero along k.
template <class Tiles>
struct AmxTiles {
  using Element = bf16;
  using Packed = bf16;
  static constexpr int64_t rows = 32, cols = 32;
  static constexpr bool reads_in_place = false;
  static constexpr int64_t k_unit = 32, k_chunk = 32;
  static constexpr int64_t tile = 16 * 32;  // bf16 in a tile
  static constexpr int64_t size(int64_t, int64_t K) { return 32 * round_up(K, 32); }
  static constexpr int64_t at(int64_t, int64_t k) { return 32 * k; }

  // [k / 32][2][16 lines][32 k's]
  static void pack_rows(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    for (int64_t k = 0; k < n; k += 32)
      for (int64_t line = 0; line < count; line += 16, out += tile) {
        const int64_t lines = count - line < 16 ? count - line : 16, some = n - k < 32 ? n - k : 32;
        m.along_k ? copy_lines(m, first + line, lines, k0 + k, some, out)
                  : turn_lines(m, first + line, lines, k0 + k, some, out);
        if (count <= 16) out += tile;  // there is no second tile
      }
  }
  static void copy_lines(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    for (int64_t i = 0; i < count; ++i, out += 32) {
      const bf16* from = m.at(first + i) + k0;
      if (n == 32) {
        __builtin_memcpy(out, from, 64);
        continue;
      }
      for (int64_t k = 0; k < 32; ++k) out[k] = k < n ? from[k] : bf16(0.0f);
    }
  }
  static void turn_lines(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    const bool inside = first + 16 <= m.stride;
    Vec<float> square[16];  // of words: a pair of k's in each row, a line in each column
    for (int64_t p = 0; p < 16; ++p) {
      FloatBits words{};
      if (2 * p + 1 < n && inside)
        words = interleave(m.at(k0 + 2 * p) + first, m.at(k0 + 2 * p + 1) + first);
      else if (2 * p < n)
        words =
            interleave_part(m.at(k0 + 2 * p) + first, 2 * p + 1 < n ? m.at(k0 + 2 * p + 1) + first : nullptr, count);
      __builtin_memcpy(&square[p], &words, sizeof words);
    }
    transpose<float>(square);
    __builtin_memcpy(out, square, sizeof square);
  }
  // [2][k / 32][16 pairs][16 lines]
  static void pack_cols(const Operand<bf16>& m, int64_t first, int64_t count, int64_t k0, int64_t n, bf16* out) {
    const int64_t whole = round_up(n, 2), half = 16 * round_up(n, 32);
    for (int64_t line = 0; line < count; line += 16, out += half) {
      pack_pairs<1>(m, first + line, count - line < 16 ? count - line : 16, 16, k0, n, out);
      for (int64_t i = whole * 16; i < half; ++i) out[i] = bf16(0.0f);
    }
  }

  template <class Out>
  static void multiply(int64_t height, int64_t K, const bf16* a, int64_t, const bf16* b, int64_t width, bool add,
                       Out* c, int64_t c_stride, Ahead ahead) {
    alignas(64) float sum[rows][cols];
    const int64_t blocks = (K + 31) / 32;
    const bf16* const b1 = b + blocks * tile;
    const bool tall = height > 16, wide = width > 16;
    //@begin amx
    Tiles tiles;
    tiles.template zero<0>(), tiles.template zero<1>();
    tiles.template zero<2>(), tiles.template zero<3>();
    for (int64_t i = 0; i < blocks; ++i) {
      ahead.fetch();
      tiles.template load<4>(a + 2 * i * tile, 64);
      tiles.template load<6>(b + i * tile, 64);
      tiles.template multiply<0, 4, 6>();
      if (wide) {
        tiles.template load<7>(b1 + i * tile, 64);
        tiles.template multiply<1, 4, 7>();
      }
      if (!tall) continue;
      tiles.template load<5>(a + (2 * i + 1) * tile, 64);
      tiles.template multiply<2, 5, 6>();
      if (wide) tiles.template multiply<3, 5, 7>();
    }
    tiles.template store<0>(&sum[0][0], sizeof sum[0]);
    tiles.template store<1>(&sum[0][16], sizeof sum[0]);
    tiles.template store<2>(&sum[16][0], sizeof sum[0]);
    tiles.template store<3>(&sum[16][16], sizeof sum[0]);
    //@end amx
    for (int64_t r = 0; r < height; ++r, c += c_stride)
      for (int64_t i = 0; i < width; i += 16) {
        const Vec<float> s = load(&sum[r][i]);
        if (i + 16 <= width)
          store(c + i, add ? load(c + i) + s : s);
        else
          store_part(c + i, add ? load_part(c + i, width - i) + s : s, width - i);
      }
  }
};

}  // namespace switchyard::cpu::SWITCHYARD_ISA
#endif
