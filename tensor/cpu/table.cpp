// The CPU's table of kernels, one for each instruction set that this file is compiled for.
#include "tensor/cpu/declarations.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template const Kernels<float>& table();
template const Kernels<double>& table();
template const Kernels<bf16>& table();

}  // namespace switchyard::cpu::SWITCHYARD_ISA
