// A table of kernels whose entries time those of the CPU's own table and note what each call cost.
#pragma once
#include <chrono>
#include <string_view>
#include <vector>

#include "tests/bench/kernel_cost.h"

namespace switchyard::bench {

// Every kernel, in the order of the table: a name that is missing or out of place does not compile.
#define SWITCHYARD_KERNELS(X)                                                                                          \
  X(fill)                                                                                                              \
  X(add) X(multiply) X(scale) X(add_bias) X(unary) X(unary_backward) X(swiglu) X(swiglu_backward) X(dropout) X(jitter) \
      X(widen) X(narrow) X(repeat_row) X(sum) X(sum_squares) X(column_sum) X(row_dot) X(scale_rows) X(softmax)         \
          X(softmax_backward) X(logsumexp) X(top_k) X(softmax_top_k) X(gemm) X(gemm_wide) X(grouped_forward)           \
              X(grouped_backward_input) X(grouped_backward_weight) X(proposing_tokens) X(expert_share) X(plan)         \
                  X(combine) X(combine_backward) X(route_statistics) X(gather_rows) X(gather_rows_backward)            \
                      X(take_columns) X(take_columns_backward) X(rms_norm) X(rms_norm_backward) X(layer_norm)          \
                          X(layer_norm_backward) X(rope) X(attention) X(attention_backward) X(copy_rows)               \
                              X(cross_entropy) X(cross_entropy_backward) X(gradient_scale) X(adamw)

struct Call {
  std::string_view kernel;
  Cost cost;
  double seconds;
  size_t element;  // bytes of an activation: 2 in bf16
};

// While it lives, kernels<T>(Device::cpu) is the timed table. One at a time for each T, and one thread that calls.
template <class T>
class TimedKernels {
 public:
  explicit TimedKernels(std::vector<Call>& calls) {
    plain_ = &kernels<T>(Device::cpu);
    calls_ = &calls;
    replace_cpu_kernels<T>(&table());
  }
  ~TimedKernels() { replace_cpu_kernels<T>(nullptr); }
  TimedKernels(const TimedKernels&) = delete;
  TimedKernels& operator=(const TimedKernels&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

#define SWITCHYARD_KERNEL(name)                                                                          \
  struct name##_kernel {                                                                                 \
    static constexpr std::string_view text = #name;                                                      \
    static auto& plain() { return plain_->name; }                                                        \
    static constexpr auto cost = [](auto... arguments) -> Cost { return Costs<T>::name(arguments...); }; \
  };
  SWITCHYARD_KERNELS(SWITCHYARD_KERNEL)
#undef SWITCHYARD_KERNEL

  template <class Kernel, class... Arguments>
  static void timed(Arguments... arguments) {
    const Clock::time_point start = Clock::now();
    Kernel::plain()(arguments...);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    calls_->push_back({Kernel::text, Kernel::cost(arguments...), seconds, sizeof(T)});
  }
  // The wrapper with the signature of the kernel that it stands for.
  template <class Kernel, class... Arguments>
  static auto& wrapper(void (&)(Arguments...)) {
    return timed<Kernel, Arguments...>;
  }
  static const Kernels<T>& table() {
#define SWITCHYARD_ENTRY(name) .name = wrapper<name##_kernel>(plain_->name),
    static const Kernels<T> wrappers{SWITCHYARD_KERNELS(SWITCHYARD_ENTRY)};
#undef SWITCHYARD_ENTRY
    return wrappers;
  }

  static inline const Kernels<T>* plain_ = nullptr;
  static inline std::vector<Call>* calls_ = nullptr;
};

}  // namespace switchyard::bench
