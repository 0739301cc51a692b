// The GPU as the host sees it: memory, copies, waiting. No CUDA types, so any file may include it. All work is queued
// on one stream and runs in order; only copy_to_host() and synchronize() wait. In a build without CUDA
// (tensor/cuda/absent.cpp) unavailable() says so and nothing else may be called.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tensor/kernels.h"

namespace switchyard::gpu {

// Why no device can be used, in one line: no CUDA in this build, no driver, no device, or one that is too old. Nothing
// if there is one.
std::optional<std::string> unavailable();

struct DeviceInfo {
  std::string name, driver;  // "NVIDIA H100 80GB HBM3", "13.0"
  int capability;            // 90: compute capability 9.0
  int multiprocessors;
  int64_t memory;  // bytes
  int64_t l2;      // bytes
};
DeviceInfo device_info();

void* allocate_memory(size_t bytes);            // null if there is too little; 256-byte aligned
void free_memory(void* data);                   // waits until nothing uses it
void memory_left(size_t& free, size_t& total);  // bytes

// The host's memory may be reused as soon as copy_to_device returns.
void copy_to_device(void* to, const void* from, size_t bytes);
void copy_to_host(void* to, const void* from, size_t bytes);
void copy_on_device(void* to, const void* from, size_t bytes);
void fill_bytes(void* to, int byte, size_t bytes);
// Waits until everything queued is done. Error if a kernel failed.
void synchronize();
// How often the host has waited for the device: a training step must not.
int64_t waits();

// Work of the same shapes that is queued over and over, such as a step of decoding: instead of each kernel by itself,
// it is recorded and started as one. Each run records anew, which takes the host little, and only what differs from the
// last time (an address, a position) is changed in what the device holds.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  // Queues what `work` queues. It must not wait for the device, and everything before must be done.
  void run(const std::function<void()>& work);

 private:
  void* executable_ = nullptr;  // cudaGraphExec_t
};

template <class T>
const Kernels<T>& table();  // for float and bf16

}  // namespace switchyard::gpu
