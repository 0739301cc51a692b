#include "tests/cuda_emulator/tensor_core.h"

#include <bit>
#include <cstring>

#include "tests/cuda_emulator/checker.h"

namespace cuda_emulator {
namespace {

float from_bf16(uint32_t pair, int upper) { return std::bit_cast<float>(upper ? pair & 0xffff0000 : pair << 16); }

struct Multiply {
  float* d;
  const uint32_t *a, *b;
};

// With g = lane / 4 and c = lane % 4. d[i] is row g + 8 (i / 2), column 2 c + i % 2 of both instructions.
void add_product(void* const lanes[32], int depth, const float (&a)[16][16], const float (&b)[16][8]) {
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
      float sum = 0;
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][col];
      static_cast<Multiply*>(lanes[lane])->d[i] += sum;
    }
}

void multiply_bf16(void* const lanes[32], unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<Multiply*>(lanes[lane]);
    const int g = lane / 4, c = lane % 4;
    for (int half = 0; half < 2; ++half) {
      // Registers 0 to 3: the upper left, lower left, upper right and lower right 8 x 8 of a.
      for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][2 * c + half + 8 * (i / 2)] = from_bf16(mine.a[i], half);
      for (int i = 0; i < 2; ++i) b[2 * c + half + 8 * i][g] = from_bf16(mine.b[i], half);
    }
  }
  add_product(lanes, 16, a, b);
}

void multiply_tf32(void* const lanes[32], unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<Multiply*>(lanes[lane]);
    const int g = lane / 4, c = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][c + 4 * (i / 2)] = std::bit_cast<float>(mine.a[i] & 0xffffe000);
    for (int i = 0; i < 2; ++i) b[c + 4 * i][g] = std::bit_cast<float>(mine.b[i] & 0xffffe000);
  }
  add_product(lanes, 8, a, b);
}

struct Load {
  uint32_t* r;
  const void* row;
};

template <int matrices, bool transpose>
void load_matrices(void* const lanes[32], unsigned) {
  for (int i = 0; i < matrices; ++i) {
    uint16_t m[8][8];
    for (int j = 0; j < 8; ++j) std::memcpy(m[j], static_cast<Load*>(lanes[8 * i + j])->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, c = 2 * (lane % 4);
      const uint32_t low = transpose ? m[c][g] : m[g][c], high = transpose ? m[c + 1][g] : m[g][c + 1];
      static_cast<Load*>(lanes[lane])->r[i] = low | high << 16;
    }
  }
}

template <int matrices>
void ldmatrix(uint32_t* r, const void* row, bool transpose, const void* program_counter, Location where) {
  const Unwatched own;
  if (lane_number() < 8 * matrices) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
      fail("ldmatrix at %s: misaligned row", place_of_caller(program_counter).text);
    if (!is_shared(row)) fail("ldmatrix at %s: its row is not in shared memory", place_of_caller(program_counter).text);
    if (checker) checker->access(row, 16, Checker::Kind::read, program_counter);
  }
  Load mine{r, row};
  warp_operation(0xffffffff, "ldmatrix", &mine,
                 transpose ? load_matrices<matrices, true> : load_matrices<matrices, false>, where);
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location where) {
  Multiply mine{d, a, b};
  warp_operation(0xffffffff, "mma", &mine, multiply_bf16, where);
}
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location where) {
  Multiply mine{d, a, b};
  warp_operation(0xffffffff, "mma", &mine, multiply_tf32, where);
}
void ldmatrix_x1(uint32_t (&r)[1], const void* row, bool transpose, Location where) {
  ldmatrix<1>(r, row, transpose, __builtin_return_address(0), where);
}
void ldmatrix_x2(uint32_t (&r)[2], const void* row, bool transpose, Location where) {
  ldmatrix<2>(r, row, transpose, __builtin_return_address(0), where);
}
void ldmatrix_x4(uint32_t (&r)[4], const void* row, bool transpose, Location where) {
  ldmatrix<4>(r, row, transpose, __builtin_return_address(0), where);
}

}  // namespace cuda_emulator
