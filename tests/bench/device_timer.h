// Times work on the GPU by the GPU's own clock. No CUDA types, so any file may include it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace switchyard::bench {

class DeviceTimer {
 public:
  DeviceTimer();
  ~DeviceTimer();
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  // Milliseconds of a call, over `calls` of them in a row. Before them, something long is read: that empties the L2
  // cache of what they need, and the host queues them all while the device is still busy with it.
  double sample(const std::function<void()>& f, int calls = 1) const;

 private:
  struct Events;
  std::unique_ptr<Events> events_;
  std::shared_ptr<void> flushed_, result_;
  int64_t elements_;
};

// Device memory outside the pool, which keeps what it has: a benchmark's arrays must make room for the next ones.
std::shared_ptr<void> device_memory(size_t bytes);

std::string toolkit_version();  // of the CUDA runtime in this program: "13.0"

}  // namespace switchyard::bench
