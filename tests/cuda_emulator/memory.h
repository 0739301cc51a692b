// Device and page-locked memory.
#pragma once
#include <cstddef>
#include <string>

namespace cuda_emulator {

// Device memory is readable only while one of these lives: while queued work, a copy or an allocation runs.
class DeviceMemoryOpen {
 public:
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;
};

struct Range;
Range device_memory();  // the address space that it lies in

enum class MemoryKind { pageable, page_locked, device };
// Of the allocation that holds p. Error, naming `call`, where `bytes` from p on reach past its end.
MemoryKind memory_kind(const void* p, size_t bytes, const char* call);

// What is wrong with the bytes beside the allocations: a sentence, or nothing.
std::string overwritten_guard();

}  // namespace cuda_emulator
