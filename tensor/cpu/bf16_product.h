// How this processor multiplies bf16 matrices. All ways round operands to bf16 and add in f32; they differ in the order
// of a sum.
#pragma once
#include <cstdint>

namespace switchyard::cpu {

enum class Bf16Product : uint8_t {
  f32,           // operands widened as they are packed: any processor
  dot,           // vdpbf16ps: Zen 4 and later, and Intel's since Cooper Lake, where it is no faster than f32
  amx,           // tiles: Sapphire Rapids and later
  emulated_amx,  // the same with every tile instruction in plain loops, for tests
};
// The fastest that the processor and the kernel permit, or SWITCHYARD_BF16=f32|dot|amx|emulated-amx. Error: that one is
// not to be had here.
Bf16Product bf16_product();

}  // namespace switchyard::cpu
