// cp.async: copies that land late.
#include <cstring>
#include <vector>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/hopper.h"

namespace cuda_emulator {
namespace {

struct Copy {
  void* to;
  const void* from;
  int bytes, valid, group;
};
struct Copies {
  std::vector<Copy> waiting;
  int group = 0;  // the one being collected
};
Copies copies[max_threads];  // of each thread of the block
bool any = false;            // whether there may be one

}  // namespace

void cp_async(void* shared, const void* global, int bytes, int valid_bytes) {
  const Unwatched own;
  if ((bytes != 4 && bytes != 8 && bytes != 16) || valid_bytes < 0 || valid_bytes > bytes)
    fail("cp.async of %d of %d bytes", valid_bytes, bytes);
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
      (valid_bytes > 0 && reinterpret_cast<uintptr_t>(global) % bytes != 0))
    fail("cp.async of %d bytes at %s: misaligned", bytes, place_of_caller(__builtin_return_address(0)).text);
  if (!is_shared(shared) || (valid_bytes > 0 && is_shared(global)))
    fail("cp.async at %s: not from global to shared memory", place_of_caller(__builtin_return_address(0)).text);
  if (checker) {
    checker->access(shared, bytes, Checker::Kind::write, __builtin_return_address(0));
    if (valid_bytes > 0) checker->access(global, valid_bytes, Checker::Kind::read, __builtin_return_address(0));
    checker->under_way(shared, bytes);
  }
  std::memset(shared, 0xff, bytes);  // from here on the old contents may be gone
  Copies& mine = copies[thread_number()];
  mine.waiting.push_back({shared, global, bytes, valid_bytes, mine.group});
  any = true;
}

void cp_async_commit() { ++copies[thread_number()].group; }

void cp_async_wait(int pending_groups) {
  if (!any) return;
  const Unwatched own;
  Copies& mine = copies[thread_number()];
  size_t done = 0;
  for (const Copy& copy : mine.waiting) {
    if (copy.group >= mine.group - pending_groups) break;
    ++done;
    if (checker) checker->access(copy.to, copy.bytes, Checker::Kind::write, __builtin_return_address(0));
    std::memset(copy.to, 0, copy.bytes);
    std::memcpy(copy.to, copy.from, copy.valid);
  }
  if (done > 0) unfenced_copies[thread_number()] = true;
  mine.waiting.erase(mine.waiting.begin(), mine.waiting.begin() + static_cast<std::ptrdiff_t>(done));
}

void cp_async_drop() {
  if (!any) return;
  for (Copies& each : copies) each = {};
  any = false;
}

}  // namespace cuda_emulator
