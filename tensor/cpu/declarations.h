// What the kernel files of this folder define.
#pragma once
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/simd.h"
#include "tensor/kernels.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

#include "tensor/backend.inc"

}  // namespace switchyard::cpu::SWITCHYARD_ISA
