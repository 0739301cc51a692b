// Between the emulator and what only some builds have.
#pragma once
#include <string>

#include "tests/cuda_emulator/scheduler.h"

namespace cuda_emulator {

struct Range {
  const char* begin = nullptr;
  size_t bytes = 0;
  bool contains(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - begin) < bytes; }
};
inline Range stacks;  // of the fibers

// A short text without the heap, for messages of a thread that will never get to free anything.
struct Text {
  char text[100];
};
Text place(uint3 at);                     // (7,0,0)
Text place(const Location& where);        // kernels.cu:155
Text place_of_code(const void* address);  // the line of the kernel file that the instruction belongs to
Text place_of_thread(int number);         // of the running grid's blocks
Text place_of_caller(const void* return_address);
bool is_shared(const void* p);  // whether p points to the program's variables, where shared memory is

// Forgets cp.async copies that nobody has waited for.
void cp_async_drop();

// What the access checker (checker.cpp) is told.
struct Checker {
  virtual ~Checker() = default;
  virtual void watch(bool on) = 0;  // whether kernel code runs: the emulator's own accesses are not its business
  virtual void grid_begins(const Grid& grid) = 0;
  virtual void block_begins(const void* dynamic_shared, size_t bytes) = 0;
  virtual void block_synchronises() = 0;
  virtual void warp_synchronises(int warp, unsigned mask) = 0;
  virtual void fence() = 0;
  // An access that the compiler's instrumentation does not show.
  enum class Kind { read, write, atomic };
  virtual void access(const void* p, size_t bytes, Kind kind, const void* program_counter) = 0;
  virtual void under_way(const void* shared, size_t bytes) = 0;  // until the next write: cp.async brings it
  virtual void landed(const void* shared, size_t bytes) = 0;     // by the copy engine; a barrier orders who reads it
  // The host: allocations and copies.
  virtual void allocated(const void* p, size_t bytes) = 0;
  virtual void freed(const void* p) = 0;
  virtual void host_wrote(const void* p, size_t bytes) = 0;
};
inline constinit Checker* checker = nullptr;  // set by checker.cpp where it is linked

// The emulator's own work inside a kernel.
class Unwatched {
 public:
  Unwatched() {
    if (checker) checker->watch(false);
  }
  ~Unwatched() {
    if (checker) checker->watch(true);
  }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

}  // namespace cuda_emulator
