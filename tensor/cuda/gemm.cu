// Matrix products of whole matrices, and the choice of the step that computes them.
#include "tensor/cuda/gemm_choice.cuh"

namespace switchyard::gpu {
namespace {

// y = the sum of `splits` results of n elements, in order, or y +=.
template <class Out>
__global__ void sum_splits_kernel(int64_t n, int64_t splits, const float* part, bool add, Out* y) {
  //@begin sum-splits
  for (int64_t i = global_index(); i < n; i += global_size()) {
    float sum = add ? float(y[i]) : 0.f;
    for (int64_t s = 0; s < splits; ++s) sum += part[s * n + i];
    y[i] = Out(sum);
  }
  //@end sum-splits
}

template <class T>
void multiply_dense(GemmStep step, const Dense<T>& product) {
  const bool a_along = product.whole.a.along_k, b_along = product.whole.b.along_k;
  if (a_along && b_along) return multiply_by<T, true, true>(step, product);
  if (a_along) return multiply_by<T, true, false>(step, product);
  if (b_along) return multiply_by<T, false, true>(step, product);
  return multiply_by<T, false, false>(step, product);
}

// As many pieces of K as it takes to give every multiprocessor a tile, none of them short.
int64_t useful_splits(int64_t M, int64_t N, int64_t K) {
  constexpr int64_t tile = 128, shortest = 512;
  const int64_t tiles = tiles_of(M, tile) * tiles_of(N, tile);
  if (tiles == 0 || K < 2 * shortest || 2 * tiles > multiprocessors()) return 1;
  const int64_t most = K / shortest, wanted = multiprocessors() / tiles;
  return wanted < most ? wanted : most;
}

template <class T, class Out>
void best_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
               bool accumulate, Out* c) {
  constexpr int64_t few = 2 * FewRows::rows;
  if (!transpose_a && transpose_b && M <= few) {
    gemm_step(GemmStep::few_rows, transpose_a, transpose_b, M, N, K, a, b, accumulate, c);
  } else {
    const int64_t splits = useful_splits(M, N, K);
    gemm_step(step_for(splits * tiles_of(M, 128) * tiles_of(N, 128)), transpose_a, transpose_b, M, N, K, a, b,
              accumulate, c, splits);
  }
}

}  // namespace

template <class T>
GemmStep usable_step(GemmStep wanted, bool along_k, bool whole_chunks) {
  if (wanted == GemmStep::few_rows && along_k) return wanted;
  if (wanted <= GemmStep::registers) return wanted;
  constexpr bool narrow = std::is_same_v<T, bf16>;
  if (wanted == GemmStep::hopper && narrow && compute_capability() == 90 && whole_chunks) return wanted;
  if (compute_capability() < 80 || (narrow && wanted == GemmStep::pipelined)) return GemmStep::registers;
  return narrow ? GemmStep::tensor_cores : GemmStep::pipelined;
}

template <class T, class Out>
void gemm_step(GemmStep step, bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a,
               const T* b, bool accumulate, Out* c, int64_t splits) {
  const Operand<T> rows{a, int(transpose_a ? M : K), !transpose_a, nullptr};
  const Operand<T> columns{b, int(transpose_b ? K : N), transpose_b, nullptr};
  const bool wide = std::is_same_v<Out, float>;
  const bool whole_chunks = has_whole_chunks(a, rows.stride) && has_whole_chunks(b, columns.stride);
  step = usable_step<T>(step, !transpose_a && transpose_b, whole_chunks && M > 0 && N > 0 && K > 0);
  Product<T> p{int(M), int(N), int(K), rows, columns, c, 0, wide, accumulate, whole_chunks};
  if (splits <= 1 || K == 0) return multiply_dense<T>(step, {p, 1, p.K});

  constexpr int unit = 64;  // every piece begins at a whole chunk
  const int64_t split_k = tiles_of(tiles_of(K, int(splits)), unit) * unit;
  splits = tiles_of(K, int(split_k));
  const Scratch<float> parts(splits * M * N);
  p.c = parts.data(), p.wide = true, p.add = false;
  multiply_dense<T>(step, {p, int(splits), int(split_k)});
  if (M * N > 0)
    launch(sum_splits_kernel<Out>, blocks_for(M * N, 256), 256, 0, stream(), M * N, splits, parts.data(), accumulate,
           c);
}

template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b, bool accumulate,
          T* c) {
  best_gemm(transpose_a, transpose_b, M, N, K, a, b, accumulate, c);
}

template <class T>
void gemm_wide(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
               bool accumulate, Wide<T>* c) {
  best_gemm(transpose_a, transpose_b, M, N, K, a, b, accumulate, c);
}

#define INSTANTIATE(T)                                                                                   \
  template GemmStep usable_step<T>(GemmStep, bool, bool);                                                \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, T*);            \
  template void gemm_wide<T>(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, Wide<T>*); \
  template void gemm_step<T, T>(GemmStep, bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, T*, int64_t);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE
template void gemm_step<bf16, float>(GemmStep, bool, bool, int64_t, int64_t, int64_t, const bf16*, const bf16*, bool,
                                     float*, int64_t);

}  // namespace switchyard::gpu
