// A tensor: a shape over contiguous, row-major memory. Copying a Tensor shares the memory; clone() copies it.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace switchyard {

class Tensor {
 public:
  Tensor() = default;  // empty: no memory, `defined()` is false
  // Uninitialised memory of the given shape.
  explicit Tensor(Shape shape, Dtype dtype = Dtype::f32, Device device = Device::cpu);

  static Tensor zeros(Shape shape, Dtype dtype = Dtype::f32, Device device = Device::cpu);
  static Tensor full(Shape shape, double value, Dtype dtype = Dtype::f32, Device device = Device::cpu);
  // A copy of host values, converted to `dtype`. Error if values.size() is not the shape's count.
  static Tensor from(std::span<const double> values, Shape shape, Dtype dtype = Dtype::f32);
  static Tensor from(std::span<const int32_t> values, Shape shape);
  // The same elements on a device: this very memory if it is there already, else a copy.
  Tensor to(Device device) const;

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  Dtype dtype() const { return dtype_; }
  Device device() const { return storage_->device; }
  int64_t count() const { return shape_.count(); }
  int64_t rows() const { return shape_.rows(); }
  int64_t cols() const { return shape_.cols(); }
  size_t bytes() const { return static_cast<size_t>(count()) * size_of(dtype_); }

  // The elements, on its device: the host may look at those of the CPU only. Error if T is not the dtype.
  template <class T>
  T* data() const {
    check(defined() && dtype_ == dtype_of<T>(), "tensor of {}: read as {}", defined() ? name(dtype_) : "nothing",
          name(dtype_of<T>()));
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const { return static_cast<std::byte*>(storage_->data) + offset_; }
  // The elements as host numbers, for tests and printing; waits for the device.
  std::vector<double> values() const;
  // The only element. Error unless count() is 1.
  double item() const;

  // The two views; both share the memory. Error if the counts differ or the rows are out of range.
  Tensor reshape(Shape shape) const;
  Tensor rows(int64_t first, int64_t last) const;  // rows first .. last-1 of the first axis
  Tensor clone() const;
  // True if nobody else holds this memory, so that an op may write into it.
  bool unique() const { return storage_.use_count() == 1; }

 private:
  //@begin fields
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // bytes
  Shape shape_{0};
  Dtype dtype_ = Dtype::f32;
  //@end fields
};

}  // namespace switchyard
