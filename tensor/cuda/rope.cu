// Rotary position embedding (Su et al. 2021, "RoFormer"), in the half-split layout: pair i of a head is (x[i], x[i +
// D/2]) and turns by position * theta^(-2i/D).
#include "tensor/cuda/packs.cuh"

namespace switchyard::gpu {

// A block takes one position, in some of the batches: its threads compute the position's sines in f64, once, and turn
// all heads by them. An angle depends on its position alone, not on where a call begins.
template <int width, class T>
__global__ void rope_kernel(int64_t B, int64_t T_, int heads, int D, int64_t stride, int64_t first, double theta,
                            int direction, const T* x, T* y) {
  const int half = D / 2, packs = half / width;
  DYNAMIC_SHARED(float, cosine);
  float* sine = cosine + half;
  const double position = double(first + blockIdx.x);
  for (int i = threadIdx.x; i < half; i += block_threads) {
    const double angle = position * (direction * pow(theta, -2.0 * i / D));
    cosine[i] = float(cos(angle)), sine[i] = float(sin(angle));
  }
  __syncthreads();
  for (int64_t b = blockIdx.y; b < B; b += gridDim.y)
    for (int k = threadIdx.x; k < heads * packs; k += block_threads) {
      //@begin turn
      const int head = k / packs, i = k % packs * width;
      const int64_t at = (b * T_ + blockIdx.x) * stride + head * D + i;
      const auto a = load<width>(x + at), b = load<width>(x + at + half);
      const auto c = load<width>(cosine + i), s = load<width>(sine + i);
      store(y + at, a * c - b * s);
      store(y + at + half, b * c + a * s);
      //@end turn
    }
}
template <class T>
void rope(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t stride, int64_t first, double theta, int direction,
          const T* x, T* y) {
  if (B == 0 || T_ == 0 || heads == 0 || D < 2) return;
  // Batches share a block, and its sines, where there are positions enough to keep the device busy.
  constexpr int64_t enough_blocks = 2048, most_blocks = 65535;
  const int64_t wanted = enough_blocks / T_ + 1, apart = B < wanted ? B : wanted;
  const dim3 grid(static_cast<unsigned>(T_), static_cast<unsigned>(apart < most_blocks ? apart : most_blocks));
  with_width<T>(rows_aligned<T>(D / 2 | D | stride, x, y), [&](auto width) {
    launch(rope_kernel<width, T>, grid, block_threads, static_cast<size_t>(D) * sizeof(float), stream(), B, T_,
           static_cast<int>(heads), static_cast<int>(D), stride, first, theta, direction, x, y);
  });
}

template void rope(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, int, const float*, float*);
template void rope(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, int, const bf16*, bf16*);

}  // namespace switchyard::gpu
