// Memory, copies and the stream, by the CUDA runtime. It holds no kernels, so that a C++ compiler does.
#include <cuda_runtime.h>

#include <cstring>

#include "tensor/cuda/device.h"
#include "tensor/error.h"

namespace switchyard::gpu {

// Also declared in common.cuh, for the kernel files.
void check_cuda(cudaError_t error, const char* what);
cudaStream_t stream();
int compute_capability();
int multiprocessors();

void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  fail("CUDA, {}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

namespace {

constexpr int oldest = 75;  // Turing: the oldest architecture that CUDA 13 compiles for

std::optional<std::string> find_device() {
  int devices = 0, major = 0, minor = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0)
    return fmt::format("no GPU can be used ({})", error == cudaSuccess ? "none found" : cudaGetErrorString(error));
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "device");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "device");
  if (10 * major + minor < oldest)
    return fmt::format("the GPU has compute capability {}.{}; must be {}.{} or more", major, minor, oldest / 10,
                       oldest % 10);
  return std::nullopt;
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, 0), "device attribute");
  return value;
}

size_t recorded = 0;     // copies in it
bool recording = false;  // a Graph: everything before is done, and its copies are before anything else runs

// Copies to the device pass through pinned memory, from which the device reads while the host goes on; a copy from
// ordinary memory would wait for all that is queued. The ring's pieces are used in turn.
class Staging {
 public:
  void send(void* to, const void* from, size_t bytes) {
    for (size_t done = 0; done < bytes; done += piece_bytes) {
      if (recording && recorded++ == pieces) fail("more than {} copies to the device in one recorded step", pieces);
      Piece& piece = pieces_[next_++ % pieces];
      if (!piece.memory) {
        check_cuda(cudaMallocHost(&piece.memory, piece_bytes), "pinned memory");
        check_cuda(cudaEventCreateWithFlags(&piece.sent, cudaEventDisableTiming), "event");
      } else if (!recording) {
        check_cuda(cudaEventSynchronize(piece.sent), "copy to the device");
      }
      const size_t count = std::min(piece_bytes, bytes - done);
      std::memcpy(piece.memory, static_cast<const char*>(from) + done, count);
      check_cuda(cudaMemcpyAsync(static_cast<char*>(to) + done, piece.memory, count, cudaMemcpyHostToDevice, stream()),
                 "copy to the device");
      if (!recording) check_cuda(cudaEventRecord(piece.sent, stream()), "event");
    }
  }

 private:
  static constexpr size_t piece_bytes = size_t{1} << 20;
  static constexpr size_t pieces = 32;
  struct Piece {
    void* memory = nullptr;
    cudaEvent_t sent = nullptr;
  };
  Piece pieces_[pieces];
  size_t next_ = 0;
};

int64_t waited = 0;

}  // namespace

std::optional<std::string> unavailable() {
  static const std::optional<std::string> reason = find_device();
  return reason;
}

cudaStream_t stream() {
  static const cudaStream_t stream = [] {
    if (const auto reason = unavailable()) fail("device cuda: {}", *reason);
    cudaStream_t made;
    check_cuda(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "stream");
    return made;
  }();
  return stream;
}

int compute_capability() {
  static const int value =
      10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
  return value;
}

int multiprocessors() {
  static const int value = attribute(cudaDevAttrMultiProcessorCount);
  return value;
}

DeviceInfo device_info() {
  if (const auto reason = unavailable()) fail("device cuda: {}", *reason);
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, 0), "device properties");
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "driver version");
  return {.name = properties.name,
          .driver = fmt::format("{}.{}", driver / 1000, driver % 1000 / 10),
          .capability = compute_capability(),
          .multiprocessors = multiprocessors(),
          .memory = static_cast<int64_t>(properties.totalGlobalMem),
          .l2 = properties.l2CacheSize};
}

void* allocate_memory(size_t bytes) {
  stream();  // an Error here says why there is no device
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the failure is answered for: later calls must not see it
    return nullptr;
  }
  check_cuda(error, "memory");
  return memory;
}

void free_memory(void* data) {
  synchronize();
  check_cuda(cudaFree(data), "memory");
}

void memory_left(size_t& free, size_t& total) { check_cuda(cudaMemGetInfo(&free, &total), "memory"); }

void copy_to_device(void* to, const void* from, size_t bytes) {
  static Staging& staging = *new Staging;  // never destroyed: the driver may be gone before static objects are
  staging.send(to, from, bytes);
}

void copy_to_host(void* to, const void* from, size_t bytes) {
  if (bytes) check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "copy to the host");
  synchronize();
}

void copy_on_device(void* to, const void* from, size_t bytes) {
  if (bytes) check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copy");
}

void fill_bytes(void* to, int byte, size_t bytes) {
  if (bytes) check_cuda(cudaMemsetAsync(to, byte, bytes, stream()), "fill");
}

void synchronize() {
  ++waited;
  check_cuda(cudaStreamSynchronize(stream()), "a kernel");
}

int64_t waits() { return waited; }

Graph::~Graph() {
  if (executable_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void Graph::run(const std::function<void()>& work) {
  check_cuda(cudaStreamSynchronize(stream()), "a kernel");
  check_cuda(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "recording");
  cudaGraph_t graph = nullptr;
  recording = true, recorded = 0;
  try {
    work();
  } catch (...) {
    recording = false;
    cudaStreamEndCapture(stream(), &graph);
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  recording = false;
  check_cuda(cudaStreamEndCapture(stream(), &graph), "recording");
  auto executable = static_cast<cudaGraphExec_t>(executable_);
  cudaGraphExecUpdateResultInfo difference;
  if (executable && cudaGraphExecUpdate(executable, graph, &difference) != cudaSuccess) {
    cudaGetLastError();  // other kernels than last time: made anew below
    cudaGraphExecDestroy(executable);
    executable_ = executable = nullptr;
  }
  if (!executable) check_cuda(cudaGraphInstantiate(&executable, graph, 0), "graph");
  executable_ = executable;
  cudaGraphDestroy(graph);
  check_cuda(cudaGraphLaunch(executable, stream()), "graph");
}

}  // namespace switchyard::gpu
