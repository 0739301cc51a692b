// The GPU of a build without CUDA: there is none.
#include "tensor/cuda/device.h"
#include "tensor/error.h"

namespace switchyard::gpu {
namespace {
[[noreturn]] void none() { fail("device cuda: {}", *unavailable()); }
}  // namespace

std::optional<std::string> unavailable() { return "this program was built without CUDA"; }
DeviceInfo device_info() { none(); }
void* allocate_memory(size_t) { none(); }
void free_memory(void*) { none(); }
void memory_left(size_t&, size_t&) { none(); }
void copy_to_device(void*, const void*, size_t) { none(); }
void copy_to_host(void*, const void*, size_t) { none(); }
void copy_on_device(void*, const void*, size_t) { none(); }
void fill_bytes(void*, int, size_t) { none(); }
void synchronize() { none(); }
int64_t waits() { return 0; }
Graph::~Graph() = default;
void Graph::run(const std::function<void()>&) { none(); }

template <class T>
const Kernels<T>& table() {
  none();
}
template const Kernels<float>& table();
template const Kernels<bf16>& table();

}  // namespace switchyard::gpu
