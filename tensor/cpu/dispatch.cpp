// Chooses the instruction set of the CPU kernels once, when the first table is asked for.
#include <cstdlib>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/limits.h"
#include "tensor/cuda/device.h"
#include "tensor/error.h"
#include "tensor/kernels.h"
#include "tensor/machine.h"

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

#if defined(__x86_64__)
// Whether bit `bit` of `word` (eax, ebx, ecx, edx) of CPUID's leaf 7 is set.
bool has_feature(unsigned subleaf, int word, int bit) {
  unsigned value[4] = {};
  return __get_cpuid_count(7, subleaf, &value[0], &value[1], &value[2], &value[3]) && (value[word] >> bit & 1);
}

// The tiles' state is 8 KiB that the kernel saves only for processes that have asked for it.
bool may_use_tiles() {
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

bool available(Bf16Product product) {
  if (product == Bf16Product::f32) return true;
  if (isa() != Isa::avx512) return false;
  if (product == Bf16Product::dot) return has_feature(1, 0, 5);  // AVX512_BF16
  if (product == Bf16Product::emulated_amx) return true;
  return has_feature(0, 3, 22) && has_feature(0, 3, 24) && may_use_tiles();  // AMX-BF16, AMX-TILE
}
#else
bool available(Bf16Product product) { return product == Bf16Product::f32; }
#endif

constexpr const char* bf16_names[] = {"f32", "dot", "amx", "emulated-amx"};

Bf16Product chosen_bf16_product() {
  const char* wanted = std::getenv("SWITCHYARD_BF16");
  if (wanted == nullptr || *wanted == 0) {
    for (Bf16Product fastest : {Bf16Product::amx, Bf16Product::dot})
      if (available(fastest)) return fastest;
    return Bf16Product::f32;
  }
  for (int i = 0; i < 4; ++i)
    if (std::string(wanted) == bf16_names[i]) {
      const Bf16Product product = static_cast<Bf16Product>(i);
      check(available(product), "SWITCHYARD_BF16={}: this processor does not have it; leave it unset", wanted);
      return product;
    }
  fail("SWITCHYARD_BF16={}: must be f32, dot, amx or emulated-amx", wanted);
}

Bf16Product bf16_product() {
  static const Bf16Product chosen = chosen_bf16_product();
  return chosen;
}

MeasuringLoops measuring_loops() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::measuring_loops();
  if (isa() == Isa::avx2) return avx2::measuring_loops();
#endif
  return portable::measuring_loops();
}

}  // namespace cpu

std::string best_cpu_isa() { return cpu::isa_names[static_cast<int>(cpu::best_isa())]; }
std::string cpu_bf16() { return cpu::bf16_names[static_cast<int>(cpu::bf16_product())]; }
std::string cpu_isa() { return cpu::isa_names[static_cast<int>(cpu::isa())]; }

template <class T>
const Kernels<T>* replacement = nullptr;

template <class T>
void replace_cpu_kernels(const Kernels<T>* table) {
  replacement<T> = table;
}
template void replace_cpu_kernels(const Kernels<float>*);
template void replace_cpu_kernels(const Kernels<double>*);
template void replace_cpu_kernels(const Kernels<bf16>*);

template <class T>
const Kernels<T>& cpu_kernels() {
  if (replacement<T> != nullptr) [[unlikely]]
    return *replacement<T>;
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
  return device == Device::cpu ? cpu_kernels<bf16>() : gpu::table<bf16>();
}

}  // namespace switchyard
