// The CPU's table of kernels, one for each instruction set that this file is compiled for.
#include "tensor/cpu/declarations.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
const Kernels<T>& table() {
  static constexpr Kernels<T> kernels{fill<T>,
                                      add<T>,
                                      multiply<T>,
                                      scale<T>,
                                      add_bias<T>,
                                      unary<T>,
                                      unary_backward<T>,
                                      swiglu<T>,
                                      swiglu_backward<T>,
                                      dropout<T>,
                                      sum<T>,
                                      sum_squares<T>,
                                      column_sum<T>,
                                      row_dot<T>,
                                      scale_rows<T>,
                                      softmax<T>,
                                      softmax_backward<T>,
                                      logsumexp<T>,
                                      top_k<T>,
                                      gemm<T>,
                                      grouped_forward<T>,
                                      grouped_backward_input<T>,
                                      grouped_backward_weight<T>,
                                      plan<T>,
                                      combine<T>,
                                      combine_backward<T>,
                                      gather_rows<T>,
                                      gather_rows_backward<T>,
                                      take_columns<T>,
                                      take_columns_backward<T>,
                                      rms_norm<T>,
                                      rms_norm_backward<T>,
                                      layer_norm<T>,
                                      layer_norm_backward<T>,
                                      rope<T>,
                                      attention<T>,
                                      attention_backward<T>,
                                      cross_entropy<T>,
                                      cross_entropy_backward<T>,
                                      adamw<T>};
  return kernels;
}

template const Kernels<float>& table();
template const Kernels<double>& table();

}  // namespace switchyard::cpu::SWITCHYARD_ISA
