// Runs a grid of CUDA threads as fibers on one OS thread: blocks one after another, each thread as far as it gets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "tests/cuda_emulator/vector_types.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1  // clang's way to say it
#endif
#endif

namespace cuda_emulator {

// A kernel did something wrong. Thrown out of the call that ran it; the message names block, thread, file and line.
struct Error : std::runtime_error {
  using runtime_error::runtime_error;
};

// Where the kernel calls: std::source_location, which clang 14 lacks.
struct Location {
  const char* file = "";
  unsigned line = 0;
  static constexpr Location current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

constexpr int max_threads = 1024;                 // of a block
constexpr size_t max_dynamic_shared = 227 << 10;  // bytes, where the kernel has asked for more than the usual
constexpr size_t usual_dynamic_shared = 48 << 10;

// In which order ready threads run. Whoever depends on one of them is wrong; the suites run with all.
// The environment says which: CUDA_EMULATOR_ORDER=forward|reverse|shuffled, CUDA_EMULATOR_SEED=number.
enum class Order { forward, reverse, shuffled };
void set_order(Order order, uint64_t seed = 1);
Order order();

// threadIdx and its kin are references to this; a switch of fibers writes it. No thread_local: kernels read it often.
struct BuiltIns {
  uint3 thread{}, block{};
  int number = 0;  // of the thread within its block
  dim3 block_size, grid_size;
};
extern BuiltIns built_ins;

// One launch: `call(closure)` runs the kernel for the thread that built_ins names.
struct Grid {
  dim3 size, block_size;
  size_t shared_bytes;
  const void* kernel;
  void (*call)(const void* closure);
  const void* closure;
  size_t closure_bytes;
};
void run_grid(const Grid& grid);

// The rest is called by kernels.
bool in_kernel();
inline int thread_number() { return built_ins.number; }
inline int lane_number() { return thread_number() % 32; }
void* dynamic_shared();
size_t dynamic_shared_bytes();
// Abandons the grid; printf's format. It never returns, so nothing may be on the heap that a destructor frees.
[[noreturn, gnu::cold, gnu::format(printf, 1, 2)]] void fail(const char* format, ...);

// Blocks until the whole block has called; returns for how many threads `predicate` held.
int sync_threads(bool predicate, const char* name, Location where);

// Blocks until all lanes of `mask` have called with the same name and mask; then `combine`, which may be null, sees
// what each of them passed, by lane. Only __syncwarp orders memory accesses: a shuffle is no barrier.
using Combine = void (*)(void* const mine[32], unsigned mask);
void warp_operation(unsigned mask, const char* name, void* mine, Combine combine, Location where,
                    bool orders_memory = false);

// Blocks until another thread, or a copy that lands, unparks this one. The threads to unpark are in ascending order.
void park(const char* name, Location where);
void unpark(uint16_t* threads, size_t n);

// cp.async: the copy happens when the thread waits for its group, and not before; until then the destination is NaN.
void cp_async(void* shared, const void* global, int bytes, int valid_bytes);
void cp_async_commit();
void cp_async_wait(int pending_groups);

}  // namespace cuda_emulator
