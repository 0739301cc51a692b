// Whose turn it is.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tests/cuda_emulator/scheduler.h"

namespace cuda_emulator {

uint64_t random_below(uint64_t n);

// In which order n equals have their turn.
template <class Index>
void arrange(Index* index, size_t n) {
  if (order() == Order::reverse) std::reverse(index, index + n);
  if (order() == Order::shuffled)
    for (size_t i = n; i > 1; --i) std::swap(index[i - 1], index[random_below(i)]);
}

}  // namespace cuda_emulator
