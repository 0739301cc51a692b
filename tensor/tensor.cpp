#include "tensor/tensor.h"

#include <algorithm>

#include "tensor/kernels.h"

namespace switchyard {

Tensor::Tensor(Shape shape, Dtype dtype, Device device) : shape_(shape), dtype_(dtype) {
  storage_ = allocate(bytes(), device);
}

Tensor Tensor::zeros(Shape shape, Dtype dtype, Device device) {
  Tensor tensor(shape, dtype, device);
  fill_bytes(tensor.raw(), device, 0, tensor.bytes());
  return tensor;
}

Tensor Tensor::full(Shape shape, double value, Dtype dtype, Device device) {
  Tensor tensor(shape, dtype, device);
  with_float_type(dtype, [&]<class T>() {
    if (device == Device::cpu)
      std::fill_n(tensor.data<T>(), tensor.count(), static_cast<T>(value));
    else
      kernels<T>(device).fill(tensor.count(), static_cast<T>(value), tensor.data<T>());
  });
  return tensor;
}

Tensor Tensor::from(std::span<const double> values, Shape shape, Dtype dtype) {
  if (static_cast<int64_t>(values.size()) != shape.count())
    fail("{} values for shape {}: must be {}", values.size(), shape.text(), shape.count());
  Tensor tensor(shape, dtype);
  with_float_type(dtype, [&]<class T>() {
    for (size_t i = 0; i < values.size(); ++i) tensor.data<T>()[i] = static_cast<T>(values[i]);
  });
  return tensor;
}

Tensor Tensor::from(std::span<const int32_t> values, Shape shape) {
  if (static_cast<int64_t>(values.size()) != shape.count())
    fail("{} values for shape {}: must be {}", values.size(), shape.text(), shape.count());
  Tensor tensor(shape, Dtype::i32);
  std::copy(values.begin(), values.end(), tensor.data<int32_t>());
  return tensor;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor copy(shape_, dtype_, device);
  copy_bytes(copy.raw(), device, raw(), this->device(), bytes());
  return copy;
}

std::vector<double> Tensor::values() const {
  if (device() != Device::cpu) return to(Device::cpu).values();
  if (dtype_ == Dtype::i32) return {data<int32_t>(), data<int32_t>() + count()};
  return with_float_type(dtype_, [&]<class T>() { return std::vector<double>(data<T>(), data<T>() + count()); });
}

double Tensor::item() const {
  if (count() != 1) fail("item() of shape {}: needs exactly one element", shape_.text());
  return values()[0];
}

Tensor Tensor::reshape(Shape shape) const {
  if (shape.count() != count()) fail("reshape {} to {}: the counts differ", shape_.text(), shape.text());
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::rows(int64_t first, int64_t last) const {
  if (!(shape_.rank() >= 1 && 0 <= first && first <= last && last <= shape_[0]))
    fail("rows {}..{} of shape {}: out of range", first, last, shape_.text());
  Tensor view = *this;
  //@begin rows
  view.shape_ = shape_.with_first(last - first);
  const int64_t row = shape_[0] ? count() / shape_[0] : 0;  // elements
  view.offset_ += first * row * static_cast<int64_t>(size_of(dtype_));
  //@end rows
  return view;
}

Tensor Tensor::clone() const {
  Tensor copy(shape_, dtype_, device());
  copy_bytes(copy.raw(), device(), raw(), device(), bytes());
  return copy;
}

}  // namespace switchyard
