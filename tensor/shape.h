// Sizes of a tensor's axes, outermost first. Row-major and contiguous always: the last axis varies fastest.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "tensor/error.h"

namespace switchyard {

class Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;  // rank 0: a scalar, one element
  Shape(std::initializer_list<int64_t> sizes) {
    check(sizes.size() <= max_rank, "shape of rank {}: at most {} axes", sizes.size(), max_rank);
    for (int64_t size : sizes) {
      check(size >= 0, "shape with an axis of {}: must be 0 or more", size);
      sizes_[rank_++] = size;
    }
  }

  int rank() const { return rank_; }
  // Negative axes count from the end: shape[-1] is the last.
  int64_t operator[](int axis) const {
    const int index = axis < 0 ? axis + rank_ : axis;
    if (index < 0 || index >= rank_) fail("axis {} of shape {}: no such axis", axis, text());
    return sizes_[index];
  }
  // Elements in all: the product of the sizes, 1 for rank 0.
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }
  // A tensor seen as a matrix: the last axis is `cols`, everything before it `rows`.
  //@begin matrix
  int64_t cols() const { return rank_ ? sizes_[rank_ - 1] : 1; }
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank_; ++i) n *= sizes_[i];
    return n;
  }
  //@end matrix
  // The same shape with another last (or first) axis.
  Shape with_last(int64_t size) const { return with(rank_ - 1, size); }
  Shape with_first(int64_t size) const { return with(0, size); }

  bool operator==(const Shape&) const = default;
  std::string text() const {  // "(2, 3)"
    std::string s = "(";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(sizes_[i]);
    return s + ")";
  }

 private:
  Shape with(int axis, int64_t size) const {
    if (axis < 0 || axis >= rank_) fail("axis {} of shape {}: no such axis", axis, text());
    Shape other = *this;
    other.sizes_[axis] = size;
    return other;
  }
  std::array<int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

}  // namespace switchyard
