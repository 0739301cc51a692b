// What the files of tensor/ops share: checks, and a result allocated beside the call of a kernel.
#pragma once
#include "tensor/ops.h"

namespace switchyard {

inline void same_device(const char* op, const Tensor& a, const Tensor& b) {
  check(a.device() == b.device(), "{} of a tensor on {} and one on {}: must be on one device", op, name(a.device()),
        name(b.device()));
}
inline void same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype(), "{} of {} and {}: must be alike", op, name(a.dtype()), name(b.dtype()));
  same_device(op, a, b);
}
inline void same_shape(const char* op, const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype())
    fail("{} of {} {} and {} {}: must be alike", op, name(a.dtype()), a.shape().text(), name(b.dtype()),
         b.shape().text());
  same_device(op, a, b);
}
inline void needs(const char* op, const char* what, const Tensor& x, const Shape& shape) {
  if (x.shape() != shape) fail("{}: {} of shape {}, must be {}", op, what, x.shape().text(), shape.text());
}
// An i32 tensor's elements, or null where it is undefined.
inline const int32_t* indices(const Tensor& x) { return x.defined() ? x.data<int32_t>() : nullptr; }

// Allocates a result like `like` but of `shape`, and calls f(kernel table, typed result pointer).
template <class F>
Tensor compute(const Tensor& like, Shape shape, F&& f) {
  Tensor y(shape, like.dtype(), like.device());
  with_float_type(like.dtype(), [&]<class T>() { f(kernels<T>(like.device()), y.data<T>()); });
  return y;
}
template <class T>
const T* ptr(const Tensor& x, const T*) {
  return x.data<T>();
}
// The same where x is wide.
template <class T>
const Wide<T>* wide(const Tensor& x, const T*) {
  return x.data<Wide<T>>();
}
inline Tensor wide_like(const Tensor& like, Shape shape) { return Tensor(shape, wide(like.dtype()), like.device()); }

}  // namespace switchyard
