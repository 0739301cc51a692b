#include "tensor/storage.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "tensor/cuda/device.h"
#include "tensor/error.h"

namespace switchyard {
namespace {

constexpr size_t alignment = 64;
constexpr size_t huge_page = size_t{2} << 20;

// Sizes are rounded up to an eighth of their power of two, so that nearly equal requests share blocks.
size_t rounded(size_t bytes) {
  const size_t step = std::max(alignment, std::bit_ceil(std::max<size_t>(bytes, 1)) / 8);
  return (bytes + step - 1) / step * step;
}

bool poison = false;

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}
  std::shared_ptr<Storage> take(size_t wanted) {
    const size_t bytes = std::max(rounded(wanted), alignment);
    void* data = nullptr;
    {
      std::lock_guard lock(mutex_);
      //@begin take
      std::vector<void*>& waiting = free_[bytes];
      if (!waiting.empty()) {
        data = waiting.back();
        waiting.pop_back();
      } else {
        data = from_system(bytes);
      }
      //@end take
      stats_.bytes_in_use += static_cast<int64_t>(bytes);
      stats_.bytes_peak = std::max(stats_.bytes_peak, stats_.bytes_in_use);
    }
    if (poison) fill_bytes(data, device_, 0xff, bytes);  // 0xff… is a NaN in every float format
    return {new Storage{data, bytes, device_}, [this](Storage* s) { give_back(s); }};
  }
  void release() {
    std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : free_) {
      for (void* data : blocks) device_ == Device::cpu ? std::free(data) : gpu::free_memory(data);
      stats_.bytes_pooled -= static_cast<int64_t>(bytes * blocks.size());
      blocks.clear();
    }
  }
  PoolStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  void* from_system(size_t bytes) {
    void* data = device_ == Device::cpu ? from_host(bytes) : gpu::allocate_memory(bytes);
    if (data == nullptr) {
      size_t free = 0, total = 0;
      if (device_ == Device::cuda) gpu::memory_left(free, total);
      fail("out of memory on {}: {} MB wanted, {} MB in use{}; a smaller --batch, --context or --layers needs less",
           name(device_), bytes >> 20, stats_.bytes_in_use >> 20,
           total ? fmt::format(", {} of {} MB free", free >> 20, total >> 20) : "");
    }
    stats_.bytes_pooled += static_cast<int64_t>(bytes);
    ++stats_.system_calls;
    return data;
  }
  static void* from_host(size_t bytes) {
    const size_t align = bytes >= huge_page ? huge_page : alignment;
    void* data = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (data != nullptr && bytes >= huge_page) madvise(data, bytes, MADV_HUGEPAGE);
    return data;
  }
  void give_back(Storage* storage) {
    std::lock_guard lock(mutex_);
    free_[storage->bytes].push_back(storage->data);
    stats_.bytes_in_use -= static_cast<int64_t>(storage->bytes);
    delete storage;
  }

  Device device_;
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  PoolStats stats_{};
};

Pool& pool(Device device) {
  static Pool& cpu = *new Pool(Device::cpu);  // never destroyed: tensors of static lifetime may outlive it
  static Pool& cuda = *new Pool(Device::cuda);
  return device == Device::cpu ? cpu : cuda;
}

}  // namespace

std::shared_ptr<Storage> allocate(size_t bytes, Device device) { return pool(device).take(bytes); }
void release_pool(Device device) { pool(device).release(); }
PoolStats pool_stats(Device device) { return pool(device).stats(); }
void poison_new_storage(bool on) { poison = on; }

void check_available(Device device) {
  if (device == Device::cpu) return;
  if (const auto reason = gpu::unavailable()) fail("device cuda: {}", *reason);
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::cpu && from_device == Device::cpu)
    std::memcpy(to, from, bytes);
  else if (to_device == Device::cpu)
    gpu::copy_to_host(to, from, bytes);
  else if (from_device == Device::cpu)
    gpu::copy_to_device(to, from, bytes);
  else
    gpu::copy_on_device(to, from, bytes);
}

void fill_bytes(void* to, Device device, uint8_t byte, size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::cpu)
    std::memset(to, byte, bytes);
  else
    gpu::fill_bytes(to, byte, bytes);
}

}  // namespace switchyard
