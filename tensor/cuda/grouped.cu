// The products of all experts, each with its own slots, in one launch.
#include "tensor/cuda/gemm_choice.cuh"

namespace switchyard::gpu {

template <class T>
void grouped_forward_step(GemmStep step, int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                          const int32_t* row, const T* x, const T* w, T* y) {
  const bool chunks = has_whole_chunks(x, in) && has_whole_chunks(w, in);
  multiply_by<T, true, true>(usable_step<T>(step, true, chunks && N * E * out * in > 0),
                             GroupedRows<T>{int(N), int(E), int(in), int(out), offset, row, x, w, true, y, chunks});
}

template <class T>
void grouped_backward_input_step(GemmStep step, int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                                 const T* dy, const T* w, T* dx) {
  const bool chunks = has_whole_chunks(dy, out) && has_whole_chunks(w, in);
  multiply_by<T, true, false>(
      usable_step<T>(step, false, chunks && N * E * out * in > 0),
      GroupedRows<T>{int(N), int(E), int(out), int(in), offset, nullptr, dy, w, false, dx, chunks});
}

template <class T>
void grouped_backward_weight_step(GemmStep step, int64_t, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                                  const int32_t* row, const T* dy, const T* x, float* dw) {
  const bool chunks = has_whole_chunks(dy, out) && has_whole_chunks(x, in);
  multiply_by<T, false, false>(usable_step<T>(step, false, chunks && E * out * in > 0),
                               GroupedWeights<T>{int(E), int(out), int(in), offset, row, dy, x, dw, chunks});
}

namespace {
// At most so many tiles of 128 x 128 have N slots, however the E experts share them.
int64_t row_tiles(int64_t N, int64_t E, int64_t cols) { return (N / 128 + E) * tiles_of(cols, 128); }
}  // namespace

template <class T>
void grouped_forward(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                     const T* x, const T* w, T* y) {
  constexpr int64_t few = 4;  // slots an expert, on average: reading the weights is all the work
  const GemmStep step = N <= few * E ? GemmStep::few_rows : step_for(row_tiles(N, E, out));
  grouped_forward_step(step, N, E, out, in, offset, row, x, w, y);
}

template <class T>
void grouped_backward_input(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy,
                            const T* w, T* dx) {
  grouped_backward_input_step(step_for(row_tiles(N, E, in)), N, E, out, in, offset, dy, w, dx);
}

template <class T>
void grouped_backward_weight(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                             const T* dy, const T* x, Wide<T>* dw) {
  grouped_backward_weight_step(step_for(E * tiles_of(out, 128) * tiles_of(in, 128)), N, E, out, in, offset, row, dy, x,
                               dw);
}

#define INSTANTIATE(T)                                                                                                \
  template void grouped_forward_step(GemmStep, int64_t, int64_t, int64_t, int64_t, const int32_t*, const int32_t*,    \
                                     const T*, const T*, T*);                                                         \
  template void grouped_backward_input_step(GemmStep, int64_t, int64_t, int64_t, int64_t, const int32_t*, const T*,   \
                                            const T*, T*);                                                            \
  template void grouped_backward_weight_step(GemmStep, int64_t, int64_t, int64_t, int64_t, const int32_t*,            \
                                             const int32_t*, const T*, const T*, Wide<T>*);                           \
  template void grouped_forward(int64_t, int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const T*,         \
                                const T*, T*);                                                                        \
  template void grouped_backward_input(int64_t, int64_t, int64_t, int64_t, const int32_t*, const T*, const T*, T*);   \
  template void grouped_backward_weight(int64_t, int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const T*, \
                                        const T*, Wide<T>*);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::gpu
