// Neighbouring elements taken together: loads and stores of 16 bytes, arithmetic in float.
#pragma once
#include <type_traits>

#include "tensor/cuda/common.cuh"

namespace switchyard::gpu {

constexpr int vector_bytes = 16;  // the widest load or store of a thread
constexpr int block_threads = 256;

template <class T>
constexpr int pack_width = vector_bytes / int(sizeof(T));

template <int width>
struct Floats {
  float at[width];
};

template <class T, int width>
constexpr size_t pack_alignment = width * sizeof(T) < vector_bytes ? width * sizeof(T) : vector_bytes;

//@begin pack
template <class T, int width>
struct alignas(pack_alignment<T, width>) Pack {
  T at[width];
};
template <int width, class T>
__device__ inline Floats<width> load(const T* p) {
  const auto pack = *reinterpret_cast<const Pack<T, width>*>(p);
  Floats<width> v;
  for (int j = 0; j < width; ++j) v.at[j] = float(pack.at[j]);
  return v;
}
template <int width, class T>
__device__ inline void store(T* p, Floats<width> v) {
  Pack<T, width> pack;
  for (int j = 0; j < width; ++j) pack.at[j] = T(v.at[j]);
  *reinterpret_cast<Pack<T, width>*>(p) = pack;
}
//@end pack

// f(x[0]...), f(x[1]...), ...
template <class F, int width, class... More>
__device__ inline Floats<width> each(F f, Floats<width> x, More... more) {
  for (int j = 0; j < width; ++j) x.at[j] = f(x.at[j], more.at[j]...);
  return x;
}
template <int width>
__device__ inline Floats<width> operator+(Floats<width> a, Floats<width> b) {
  return each([](float u, float v) { return u + v; }, a, b);
}
template <int width>
__device__ inline Floats<width> operator-(Floats<width> a, Floats<width> b) {
  return each([](float u, float v) { return u - v; }, a, b);
}
template <int width>
__device__ inline Floats<width> operator*(Floats<width> a, Floats<width> b) {
  return each([](float u, float v) { return u * v; }, a, b);
}
template <int width>
__device__ inline Floats<width> operator*(float s, Floats<width> a) {
  return each([s](float u) { return s * u; }, a);
}
template <int width>
__device__ inline Floats<width> operator-(Floats<width> a, float s) {
  return each([s](float u) { return u - s; }, a);
}
template <int width>
__device__ inline float add_up(Floats<width> x) {
  float total = x.at[0];
  for (int j = 1; j < width; ++j) total += x.at[j];
  return total;
}

// Whether packs may be loaded from all of these.
template <class... X>
bool aligned(const X*... x) {
  return ((reinterpret_cast<uintptr_t>(x) % vector_bytes == 0) && ...);
}
// The same for every row of matrices whose elements are T or wider.
template <class T, class... X>
bool rows_aligned(int64_t cols, const X*... x) {
  return cols % pack_width<T> == 0 && aligned(x...);
}

template <int n>
using Constant = std::integral_constant<int, n>;

// f(Constant<width>): packs of T where they may be used, single elements elsewhere.
template <class T, class F>
void with_width(bool packs, F f) {
  packs ? f(Constant<pack_width<T>>{}) : f(Constant<1>{});
}

// f(r, c) for the packs of a matrix that are this thread's, in a kernel that launch_rows() queues.
template <int width, class F>
__device__ inline void for_each_pack(int64_t rows, int64_t cols, F f) {
  const int64_t first_c = int64_t{blockIdx.y} * blockDim.x + threadIdx.x, step_c = int64_t{gridDim.y} * blockDim.x;
  const int64_t first_r = int64_t{blockIdx.x} * blockDim.y + threadIdx.y, step_r = int64_t{gridDim.x} * blockDim.y;
  for (int64_t r = first_r; r < rows; r += step_r)
    for (int64_t c = width * first_c; c < cols; c += width * step_c) f(r, c);
}

// kernel(rows, cols, arguments...), with blocks of as many threads side by side as a row has packs, and as many rows as
// that leaves room for.
template <class... Parameters, class... Arguments>
void launch_rows(void (*kernel)(Parameters...), int width, int64_t rows, int64_t cols, Arguments... arguments) {
  if (rows == 0 || cols == 0) return;
  const int64_t packs = (cols + width - 1) / width;
  unsigned side_by_side = 1;
  while (side_by_side < packs && side_by_side < block_threads) side_by_side *= 2;
  const dim3 block(side_by_side, block_threads / side_by_side);
  const unsigned across = blocks_for(packs, side_by_side), most_across = 65535;
  const dim3 grid(blocks_for(rows, block.y), across < most_across ? across : most_across);
  launch(kernel, grid, block, 0, stream(), rows, cols, arguments...);
}

}  // namespace switchyard::gpu
