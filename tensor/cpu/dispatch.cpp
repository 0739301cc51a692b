// Chooses the instruction set of the CPU kernels once, when the first table is asked for.
#include <cstdlib>

#include "tensor/cuda/device.h"
#include "tensor/error.h"
#include "tensor/kernels.h"

namespace switchyard {
namespace cpu {

namespace portable {
template <class T>
const Kernels<T>& table();
}
namespace avx2 {
template <class T>
const Kernels<T>& table();
}
namespace avx512 {
template <class T>
const Kernels<T>& table();
}

enum class Isa { portable, avx2, avx512 };
constexpr const char* isa_names[] = {"portable", "avx2", "avx512"};

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return Isa::avx2;
#endif
  return Isa::portable;
}

Isa chosen_isa() {
  const char* wanted = std::getenv("SWITCHYARD_ISA");
  if (wanted == nullptr || *wanted == 0) return best_isa();
  for (int i = 0; i <= static_cast<int>(best_isa()); ++i)
    if (std::string(wanted) == isa_names[i]) return static_cast<Isa>(i);
  fail("SWITCHYARD_ISA={}: must be portable, avx2 or avx512, and at most {}, which this processor has", wanted,
       isa_names[static_cast<int>(best_isa())]);
}

Isa isa() {
  static const Isa chosen = chosen_isa();
  return chosen;
}

}  // namespace cpu

std::string cpu_isa() { return cpu::isa_names[static_cast<int>(cpu::isa())]; }

template <class T>
const Kernels<T>& cpu_kernels() {
#if defined(__x86_64__)
  //@begin choose
  if (cpu::isa() == cpu::Isa::avx512) return cpu::avx512::table<T>();
  if (cpu::isa() == cpu::Isa::avx2) return cpu::avx2::table<T>();
#endif
  return cpu::portable::table<T>();
  //@end choose
}

template <>
const Kernels<float>& kernels(Device device) {
  return device == Device::cpu ? cpu_kernels<float>() : gpu::table<float>();
}
template <>
const Kernels<double>& kernels(Device device) {
  check(device == Device::cpu, "device {}: computes in f32 or bf16, not in f64", name(device));
  return cpu_kernels<double>();
}
template <>
const Kernels<bf16>& kernels(Device device) {
  check(device == Device::cuda, "device {}: computes in f32 or f64, not in bf16", name(device));
  return gpu::table<bf16>();
}

}  // namespace switchyard
