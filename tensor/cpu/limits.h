// The loops that measure the machine, once for each instruction set.
#pragma once
#include <cstdint>

namespace switchyard::cpu {

struct MeasuringLoops {
  double (*multiply_add)(int64_t steps, float* sink);  // returns the operations done; sink takes 16 numbers
  void (*read)(int64_t n, const float* x, float* sink);
};
MeasuringLoops measuring_loops();  // of the instruction set that was chosen

namespace portable {
MeasuringLoops measuring_loops();
}
namespace avx2 {
MeasuringLoops measuring_loops();
}
namespace avx512 {
MeasuringLoops measuring_loops();
}

}  // namespace switchyard::cpu
