// A table of kernels whose entries time those of the CPU's own table and note what each call cost.
#pragma once
#include <chrono>
#include <string_view>
#include <vector>

#include "autograd/var.h"
#include "tests/bench/kernel_cost.h"

namespace switchyard::bench {

// Seconds on the clock that every measurement of a step is taken on.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
// What the next node of the history would be called: a call made now serves the first node with a higher id.
inline uint64_t next_id() { return Var(Tensor()).node()->id; }

struct Call {
  std::string_view kernel;
  Cost cost;
  double seconds;
  size_t element;   // bytes of an activation: 2 in bf16
  double end = 0;   // now() when it returned
  uint64_t id = 0;  // next_id() then
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
#define KERNEL(name)                                                                                     \
  struct name##_kernel {                                                                                 \
    static constexpr std::string_view text = #name;                                                      \
    static auto& plain() { return plain_->name; }                                                        \
    static constexpr auto cost = [](auto... arguments) -> Cost { return Costs<T>::name(arguments...); }; \
  };
#include "tests/bench/kernels.inc"
#undef KERNEL

  template <class Kernel, class... Arguments>
  static void timed(Arguments... arguments) {
    const double start = now();
    Kernel::plain()(arguments...);
    const double end = now();
    calls_->push_back({Kernel::text, Kernel::cost(arguments...), end - start, sizeof(T), end, next_id()});
  }
  // The wrapper with the signature of the kernel that it stands for.
  template <class Kernel, class... Arguments>
  static auto& wrapper(void (&)(Arguments...)) {
    return timed<Kernel, Arguments...>;
  }
  static const Kernels<T>& table() {
#define KERNEL(name) .name = wrapper<name##_kernel>(plain_->name),
    static const Kernels<T> wrappers{
#include "tests/bench/kernels.inc"
    };
#undef KERNEL
    return wrappers;
  }

  static inline const Kernels<T>* plain_ = nullptr;
  static inline std::vector<Call>* calls_ = nullptr;
};

}  // namespace switchyard::bench
