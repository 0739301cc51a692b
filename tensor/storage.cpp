#include "tensor/storage.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

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

class Pool {
 public:
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
    if (poison_) std::memset(data, 0xff, bytes);  // 0xff… is a NaN in every float format
    return {new Storage{data, bytes, Device::cpu}, [this](Storage* s) { give_back(s); }};
  }
  PoolStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void poison(bool on) { poison_ = on; }

 private:
  void* from_system(size_t bytes) {
    const size_t align = bytes >= huge_page ? huge_page : alignment;
    void* data = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    check(data != nullptr, "out of memory: {} MB wanted, {} MB in use; a smaller --batch or --context needs less",
          bytes >> 20, stats_.bytes_in_use >> 20);
    if (bytes >= huge_page) madvise(data, bytes, MADV_HUGEPAGE);
    stats_.bytes_pooled += static_cast<int64_t>(bytes);
    ++stats_.system_calls;
    return data;
  }
  void give_back(Storage* storage) {
    std::lock_guard lock(mutex_);
    free_[storage->bytes].push_back(storage->data);
    stats_.bytes_in_use -= static_cast<int64_t>(storage->bytes);
    delete storage;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  PoolStats stats_{};
  bool poison_ = false;
};

Pool& pool(Device device) {
  check(device == Device::cpu, "device {}: not built in", name(device));
  static Pool& cpu = *new Pool;  // never destroyed: tensors of static lifetime may outlive it
  return cpu;
}

}  // namespace

std::shared_ptr<Storage> allocate(size_t bytes, Device device) { return pool(device).take(bytes); }
PoolStats pool_stats(Device device) { return pool(device).stats(); }
void poison_new_storage(bool on) { pool(Device::cpu).poison(on); }

}  // namespace switchyard
