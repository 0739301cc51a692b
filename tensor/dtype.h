// The element types that a tensor can hold.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tensor/bf16.h"
#include "tensor/error.h"

namespace switchyard {

// f64 exists on the CPU so that gradients can be checked; the GPU computes in f32 and bf16.
enum class Dtype : uint8_t { f32, bf16, i32, f64 };

constexpr size_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return 2;
    case Dtype::f64:
      return 8;
    default:
      return 4;
  }
}

// What statistics, gates and weights are kept in beside activations of a dtype.
constexpr Dtype wide(Dtype dtype) { return dtype == Dtype::bf16 ? Dtype::f32 : dtype; }

constexpr const char* name(Dtype dtype) {
  constexpr const char* names[] = {"f32", "bf16", "i32", "f64"};
  return names[static_cast<int>(dtype)];
}

template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return Dtype::f32;
  else if constexpr (std::is_same_v<T, double>)
    return Dtype::f64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return Dtype::i32;
  else if constexpr (std::is_same_v<T, bf16>)
    return Dtype::bf16;
  else
    static_assert(!sizeof(T), "a tensor holds float, double, bf16 or int32_t");
}

// Calls f.template operator()<T>() with the C++ type of a floating dtype. Error for any other dtype.
//@begin float-type
template <class F>
decltype(auto) with_float_type(Dtype dtype, F&& f) {
  if (dtype == Dtype::f32) return f.template operator()<float>();
  if (dtype == Dtype::f64) return f.template operator()<double>();
  if (dtype == Dtype::bf16) return f.template operator()<bf16>();
  fail("dtype {}: the operation needs f32, f64 or bf16", name(dtype));
}
//@end float-type

}  // namespace switchyard
