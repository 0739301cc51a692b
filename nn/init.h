// Makes parameters. Each draws from a random stream of its own, so the same seed gives the same model.
#pragma once
#include "autograd/var.h"
#include "tensor/random.h"

namespace switchyard {

class Init {
 public:
  explicit Init(uint64_t seed, Dtype dtype = Dtype::f32, Device device = Device::cpu)
      : key_{seed, uint64_t{1} << 62}, dtype_(dtype), device_(device) {}

  Var normal(Shape shape, double deviation) {
    Tensor x(shape, dtype_);
    with_float_type(dtype_, [&]<class T>() {
      for (int64_t i = 0; i < x.count(); ++i)
        x.data<T>()[i] = static_cast<T>(deviation * switchyard::normal(key_, static_cast<uint64_t>(i)));
    });
    ++key_.stream;
    return Var(x.to(device_), true);  // drawn on the CPU, the same numbers for every device
  }
  Var constant(Shape shape, double value) { return Var(Tensor::full(shape, value, dtype_, device_), true); }

 private:
  RandomKey key_;
  Dtype dtype_;
  Device device_;
};

}  // namespace switchyard
