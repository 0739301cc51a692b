#include "tests/bench/device_timer.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "tensor/cuda/device.h"
#include "tensor/error.h"

namespace switchyard::gpu {
void check_cuda(cudaError_t error, const char* what);
cudaStream_t stream();
}  // namespace switchyard::gpu

namespace switchyard::bench {

using gpu::check_cuda;

struct DeviceTimer::Events {
  cudaEvent_t start = nullptr, stop = nullptr;
};

DeviceTimer::DeviceTimer() : events_(new Events) {
  check_cuda(cudaEventCreate(&events_->start), "event");
  check_cuda(cudaEventCreate(&events_->stop), "event");
  elements_ = std::max<int64_t>(gpu::device_info().l2, 1 << 10);  // of 4 bytes: four times the cache
  flushed_ = device_memory(static_cast<size_t>(elements_) * sizeof(float));
  result_ = device_memory(sizeof(float));
  gpu::fill_bytes(flushed_.get(), 0, static_cast<size_t>(elements_) * sizeof(float));
}

DeviceTimer::~DeviceTimer() {
  cudaEventDestroy(events_->start);
  cudaEventDestroy(events_->stop);
}

double DeviceTimer::sample(const std::function<void()>& f, int calls) const {
  // Reading, not writing: what was written would go to memory while f runs.
  gpu::table<float>().sum(elements_, static_cast<const float*>(flushed_.get()), static_cast<float*>(result_.get()));
  check_cuda(cudaEventRecord(events_->start, gpu::stream()), "event");
  for (int i = 0; i < calls; ++i) f();
  check_cuda(cudaEventRecord(events_->stop, gpu::stream()), "event");
  gpu::synchronize();
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, events_->start, events_->stop), "elapsed time");
  return static_cast<double>(milliseconds) / calls;
}

std::shared_ptr<void> device_memory(size_t bytes) {
  void* memory = gpu::allocate_memory(std::max<size_t>(bytes, 1));
  check(memory != nullptr, "out of memory on cuda: {} MB wanted; --quick needs less", bytes >> 20);
  return {memory, [](void* p) { cudaFree(p); }};
}

std::string toolkit_version() {
  int version = 0;
  check_cuda(cudaRuntimeGetVersion(&version), "version");
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace switchyard::bench
