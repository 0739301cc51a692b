// Chapter 24: one instruction of the tensor cores on the six tokens, and which lane holds what.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/ptx.cuh"

using namespace switchyard;
using namespace switchyard::gpu;
enum class Mistake { none, swapped, branch };

// c (M x N) = a (M x K) b^T by one warp, where no size is above 16 and b is N x K.
template <Mistake mistake>
__global__ void one_tile(int M, int N, int K, const bf16* a, const bf16* b, float* c, int*) {
  alignas(16) __shared__ bf16 x[16][16], y[16][16];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += warp_size) {
    const int r = i / 16, k = i % 16;
    x[r][k] = r < M && k < K ? a[r * K + k] : bf16(0.f);
    y[r][k] = r < N && k < K ? b[r * K + k] : bf16(0.f);
  }
  __syncwarp();
  //@begin one-tile
  uint32_t p[4], q[4];
  load_matrices<false>(p, &x[lane % 16][lane / 16 * 8]);
  load_matrices<false>(q, &y[lane % 16][lane / 16 * 8]);
  float left[4] = {}, right[4] = {};  // columns 0 to 7, and 8 to 15
  //@end one-tile
  if (mistake == Mistake::swapped) std::swap(p[1], p[2]);
  if (mistake == Mistake::branch && lane / 4 >= M) return;  // a lane that has no row to compute
  //@begin one-tile-multiply
  mma_bf16(left, p, {q[0], q[2]});
  mma_bf16(right, p, {q[1], q[3]});
  for (int i = 0; i < 4; ++i) {
    const int m = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;
    if (m < M && n < N) c[m * N + n] = left[i];
    if (m < M && n + 8 < N) c[m * N + n + 8] = right[i];
  }
  //@end one-tile-multiply
}

// Exercise: write this. A warp for each 16 x 8 tile of c = a b^T (a: M x K, b: N x K), its registers loaded from memory
// without ldmatrix, and `multiply` in place of mma_bf16.
__device__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int* used) {
  if (threadIdx.x == 0) atomicAdd(used, 1);
  mma_bf16(d, a, b);
}
__global__ void mine(int M, int N, [[maybe_unused]] int K, [[maybe_unused]] const bf16* a,
                     [[maybe_unused]] const bf16* b, float* c, [[maybe_unused]] int* used) {
  const int m = blockIdx.y * 16 + threadIdx.x / 4, n = blockIdx.x * 8 + threadIdx.x % 4 * 2;
  if (m < M && n < N) c[m * N + n] = 0;
}

// The first wrong element of c = a b^T, or the checker's complaint, or nothing.
using Kernel = void (*)(int, int, int, const bf16*, const bf16*, float*, int*);
std::string wrong_at(Kernel kernel, dim3 grid, int M, int N, int K, int& multiplied) {
  const std::vector<bf16> a = whole_numbers<bf16>(M * K, 1), b = whole_numbers<bf16>(N * K, 2);
  const OnDevice<bf16> da(a), db(b);
  const OnDevice<float> c(M * N);
  const OnDevice<int> used(std::vector<int>{0});
  const std::string complaint = complaint_about(
      [&] { launch(kernel, grid, warp_size, 0, stream(), M, N, K, da.data(), db.data(), c.data(), used.data()); });
  if (!complaint.empty()) return complaint;
  multiplied = used.read()[0];
  return difference(c.read(), plain_product(M, N, K, a, b, true), N);
}

template <Mistake mistake>
int at_three_sizes() {
  int multiplied;
  for (const auto& [M, N, K] : {dim3(6, 4, 4), dim3(6, 4, 16), dim3(16, 16, 16)}) {
    std::string line = std::to_string(M) + " x " + std::to_string(N) + " over " + std::to_string(K) + ": ";
    line += wrong_at(one_tile<mistake>, 1, M, N, K, multiplied);
    std::puts(line.back() == ' ' ? (line + "equal").c_str() : wrapped(line).c_str());
  }
  return 0;
}

int show() {
  std::printf("in bf16: pi is %.6f, 257 is %.0f, ", float(bf16(3.14159265f)), float(bf16(257.f)));
  bf16 sum(0.f);
  for (int i = 0; i < 1000; ++i) sum = bf16(float(sum) + 1);
  std::printf("a thousand ones are %.0f\n", float(sum));
  return at_three_sizes<Mistake::none>();
}

int exercise() {
  for (const auto& [M, N, K] : {dim3(16, 8, 16), dim3(6, 4, 4), dim3(1, 1, 1), dim3(17, 9, 18), dim3(40, 30, 33)}) {
    const dim3 grid(blocks_for(N, 8), blocks_for(M, 16));
    int multiplied = 0, needed = int(grid.x * grid.y * blocks_for(K, 16));
    std::string wrong = wrong_at(mine, grid, M, N, K, multiplied);
    if (wrong.empty() && multiplied != needed)
      wrong = "multiply() ran " + std::to_string(multiplied) + " times, not " + std::to_string(needed);
    if (!wrong.empty()) return std::printf("%u x %u over %u: %s\n", M, N, K, wrong.c_str()), 2;
  }
  return std::puts("passed"), 0;
}

int main(int argc, char** argv) {
  const Part swapped{"--swapped", at_three_sizes<Mistake::swapped>},
      branch{"--branch", at_three_sizes<Mistake::branch>};
  return run_lesson(argc, argv, {{"", show}, swapped, branch, {"--exercise", exercise}});
}
