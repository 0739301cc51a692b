// Memory for tensors, pooled per device: a freed block waits for the next tensor of its size, so that after the
// first step training asks the system for nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/device.h"

namespace switchyard {

struct Storage {
  void* data;    // 64-byte aligned; contents are undefined
  size_t bytes;  // size of the block, at least what was asked for
  Device device;
};

// A block of at least `bytes` bytes, returned to the pool when the last owner lets go. Error when the system has no
// more memory (it says how much was wanted, how much there is, and what to lower).
std::shared_ptr<Storage> allocate(size_t bytes, Device device);

// Moves bytes within a device or between two. On the GPU this is queued in order with the kernels; only a copy to the
// CPU waits for what was queued before.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
// Sets every byte; on the GPU in order with the kernels.
void fill_bytes(void* to, Device device, uint8_t byte, size_t bytes);

struct PoolStats {
  int64_t bytes_in_use;  // held by tensors now
  int64_t bytes_peak;    // most ever held at once
  int64_t bytes_pooled;  // taken from the system, in use or waiting
  int64_t system_calls;  // times the system was asked for memory
};
PoolStats pool_stats(Device device);

// Gives the blocks that no tensor holds back to the system.
void release_pool(Device device);

// Fill every block handed out with NaN bytes (tests: a kernel that forgets to write its output is seen at once).
void poison_new_storage(bool on);

}  // namespace switchyard
