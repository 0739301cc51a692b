// One loop over several threads. Which thread runs which index is left to chance, so each index must write its own
// results and nobody else's: then the results are the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <type_traits>

namespace switchyard::cpu {

using LoopBody = void (*)(void* context, int64_t index);
void run_parallel(int64_t n, LoopBody body, void* context);

// Calls f(i) for i = 0 .. n-1, dealing the indices out one by one. An index should be worth 10 microseconds or more.
// A loop inside a loop runs on its own thread alone. f must not throw.
template <class F>
void parallel_for(int64_t n, F&& f) {
  run_parallel(
      n, [](void* context, int64_t i) { (*static_cast<std::remove_reference_t<F>*>(context))(i); }, &f);
}

// Calls f(first, last) for consecutive blocks of 0 .. n-1. The blocks depend on n and block alone.
template <class F>
void parallel_blocks(int64_t n, int64_t block, F&& f) {
  parallel_for((n + block - 1) / block, [&](int64_t i) {
    const int64_t first = i * block, last = first + block < n ? first + block : n;
    f(first, last);
  });
}

}  // namespace switchyard::cpu
