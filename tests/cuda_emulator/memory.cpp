#include "tests/cuda_emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/runtime_api.h"
#include "tests/cuda_emulator/streams.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr bool in_arena = false;  // AddressSanitizer's own redzones find more
#else
constexpr bool in_arena = true;
#endif

namespace cuda_emulator {
namespace {

constexpr size_t reserved = size_t{16} << 30;     // of address space
constexpr size_t device_bytes = size_t{4} << 30;  // what the device pretends to have
constexpr ptrdiff_t most_closed = 4 << 20;        // bytes that are closed to the host while nothing runs
constexpr size_t guard = 256;                     // before and behind each allocation; also the alignment
constexpr size_t checked = 64;                    // of these, next to the allocation

struct Memory {
  std::map<const char*, size_t> device, page_locked;  // the allocations
  std::multimap<size_t, char*> free;                  // by size: given back, to be used again
  char *arena = nullptr, *end = nullptr;              // end of what has ever been used
  size_t live_bytes = 0;
  uint64_t allocations = 0;
  int open = 0;
};
Memory memory;

// A sentence for what would otherwise be a bare segmentation fault.
struct sigaction previous_action;
void segmentation_fault(int, siginfo_t* info, void*) {
  const char* p = static_cast<const char*>(info->si_addr);
  const char* what = nullptr;
  if (memory.arena && p >= memory.arena && p < memory.arena + reserved)
    what = in_kernel() ? "it touched device memory that was never allocated\n"
                       : "host code touched device memory (or work runs that nobody has waited for)\n";
  else if (in_kernel())
    what = "it follows a wild pointer, or one that is not aligned for its vector type\n";
  if (stacks.contains(p)) what = "it needs more stack than the emulator gives a thread\n";
  if (what) {
    char text[300];
    const int n = in_kernel() ? std::snprintf(text, sizeof text, "cuda_emulator: block %s thread %s: %s",
                                              place(built_ins.block).text, place(built_ins.thread).text, what)
                              : std::snprintf(text, sizeof text, "cuda_emulator: %s", what);
    static_cast<void>(!write(STDERR_FILENO, text, static_cast<size_t>(n)));
    signal(SIGABRT, SIG_DFL);
    abort();
  }
  sigaction(SIGSEGV, &previous_action, nullptr);  // not ours: fault again
}
void explain_faults() {
  static char own_stack[64 << 10];
  stack_t current{};
  if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE)) {
    stack_t alternative{};
    alternative.ss_sp = own_stack;
    alternative.ss_size = sizeof own_stack;
    sigaltstack(&alternative, nullptr);
  }
  struct sigaction action {
  }, old{};
  action.sa_sigaction = segmentation_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &old);  // again and again, for doctest sets its own for each test
  if (!(old.sa_flags & SA_SIGINFO) || old.sa_sigaction != segmentation_fault) previous_action = old;
}

void protect(int protection) {
  if (memory.end > memory.arena) mprotect(memory.arena, memory.end - memory.arena, protection);
}

size_t rounded(size_t bytes) { return (bytes + guard - 1) / guard * guard; }

// Room for `bytes` and the guards, or null.
char* take(size_t bytes) {
  const size_t whole = rounded(bytes) + 2 * guard;
  if (!in_arena) {
    void* p = nullptr;
    return posix_memalign(&p, guard, bytes) == 0 ? static_cast<char*>(p) : nullptr;
  }
  if (memory.arena == nullptr) {
    void* p = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    memory.arena = memory.end = static_cast<char*>(p);
  }
  if (auto again = memory.free.find(whole); again != memory.free.end()) {
    char* p = again->second;
    memory.free.erase(again);
    return p + guard;
  }
  if (memory.end + whole > memory.arena + reserved) return nullptr;
  char* p = memory.end;
  memory.end += whole;
  protect(PROT_READ | PROT_WRITE);
  return p + guard;
}

// The allocation that holds p, or null.
const std::pair<const char* const, size_t>* find(const std::map<const char*, size_t>& in, const void* p) {
  auto behind = in.upper_bound(static_cast<const char*>(p));
  if (behind == in.begin()) return nullptr;
  const auto& [begin, bytes] = *--behind;
  return static_cast<const char*>(p) < begin + bytes ? &*behind : nullptr;
}

bool is_filled(const char* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, p + i, 8);
    if (word != ~uint64_t{0}) return false;
  }
  return true;
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (memory.open++ > 0) return;
  protect(PROT_READ | PROT_WRITE);
  explain_faults();
}
DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--memory.open == 0) {
    // Slow, and the slower the more memory there is: in one of the orders and for small programs.
    if (order() == Order::forward && memory.end - memory.arena <= most_closed) protect(PROT_NONE);
    explain_faults();
  }
}

MemoryKind memory_kind(const void* p, size_t bytes, const char* call) {
  for (const auto* kind : {&memory.device, &memory.page_locked})
    if (const auto* allocation = find(*kind, p)) {
      const size_t offset = static_cast<const char*>(p) - allocation->first;
      if (offset + bytes > allocation->second)
        throw Error(std::string(call) + ": " + std::to_string(bytes) + " bytes from byte " + std::to_string(offset) +
                    " on, of an allocation of " + std::to_string(allocation->second));
      return kind == &memory.device ? MemoryKind::device : MemoryKind::page_locked;
    }
  return MemoryKind::pageable;
}

std::string overwritten_guard() {
  if (!in_arena) return {};
  for (const auto& [begin, bytes] : memory.device)
    if (!is_filled(begin - checked, checked) || !is_filled(begin + bytes, checked))
      return std::string("wrote ") + (is_filled(begin - checked, checked) ? "past the end" : "before the start") +
             " of an allocation of " + std::to_string(bytes) + " bytes";
  return {};
}

Range device_memory() { return {memory.arena, memory.arena ? reserved : 0}; }

uint64_t allocations() { return memory.allocations; }

std::vector<std::string> live_allocations() {
  std::vector<std::string> all;
  for (const auto& [begin, bytes] : memory.device)
    all.push_back("device memory of " + std::to_string(bytes) + " bytes");
  for (const auto& [begin, bytes] : memory.page_locked)
    all.push_back("page-locked memory of " + std::to_string(bytes) + " bytes");
  return all;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const RuntimeCall call;
  ++memory.allocations;
  *p = nullptr;
  if (bytes == 0) return call.end(cudaSuccess);
  if (memory.live_bytes + bytes > device_bytes) return call.end(cudaErrorMemoryAllocation);
  const DeviceMemoryOpen open;
  char* begin = take(bytes);
  if (begin == nullptr) return call.end(cudaErrorMemoryAllocation);
  if (in_arena)
    std::memset(begin - guard, 0xff, rounded(bytes) + 2 * guard);
  else
    std::memset(begin, 0xff, bytes);
  memory.device[begin] = bytes;
  memory.live_bytes += bytes;
  if (checker) checker->allocated(begin, bytes);
  *p = begin;
  return call.end(cudaSuccess);
}

cudaError_t cudaFree(void* p) {
  const RuntimeCall call;
  if (p == nullptr) return call.end(cudaSuccess);
  wait_for_device();
  auto found = memory.device.find(static_cast<char*>(p));
  if (found == memory.device.end()) throw Error("cudaFree: not the start of a live allocation");
  const size_t bytes = found->second;
  if (checker) checker->freed(p);
  if (in_arena) {
    const DeviceMemoryOpen open;
    std::memset(p, 0xff, bytes);
    memory.free.emplace(rounded(bytes) + 2 * guard, static_cast<char*>(p) - guard);
  } else {
    std::free(p);
  }
  memory.live_bytes -= bytes;
  memory.device.erase(found);
  return call.end(cudaSuccess);
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  const RuntimeCall call;
  *p = bytes ? std::malloc(bytes) : nullptr;
  if (bytes && *p == nullptr) return call.end(cudaErrorMemoryAllocation);
  if (bytes) memory.page_locked[static_cast<char*>(*p)] = bytes;
  return call.end(cudaSuccess);
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) { return cudaMallocHost(p, bytes); }

cudaError_t cudaFreeHost(void* p) {
  const RuntimeCall call;
  if (p == nullptr) return call.end(cudaSuccess);
  wait_for_device();
  if (memory.page_locked.erase(static_cast<char*>(p)) == 0)
    throw Error("cudaFreeHost: not the start of a live allocation");
  std::free(p);
  return call.end(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const RuntimeCall call;
  *total = device_bytes;
  *free = device_bytes - memory.live_bytes;
  return call.end(cudaSuccess);
}
