#include "tests/cuda_emulator/streams.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/memory.h"

using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  struct Item {
    uint64_t number;  // all streams count together
    Work work;
  };
  std::deque<Item> queue;
  bool blocking = true;  // ordered with the null stream
  std::unique_ptr<CUgraph_st> capture;
  bool capture_failed = false;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;  // of the last record
  uint64_t number = 0;            // of the last record; 0: never recorded
  std::chrono::steady_clock::time_point when;
};

namespace cuda_emulator {
namespace {

struct Runtime {
  std::recursive_mutex mutex;
  cudaError_t last_error = cudaSuccess;
  uint64_t synchronisations = 0, items = 0;
  CUstream_st null_stream;
  std::set<cudaStream_t> streams;           // but the null stream
  std::map<const void*, int> shared_limit;  // of kernels that asked
};
Runtime& runtime() {
  static Runtime the;
  return the;
}

CUstream_st& queue_of(cudaStream_t stream) { return stream ? *stream : runtime().null_stream; }
bool known(cudaStream_t stream) { return stream == nullptr || runtime().streams.count(stream); }

//@begin run-until
// Runs what the stream was given up to item `last`. The null stream waits
// for all others but those made cudaStreamNonBlocking, and they for it.
void run_until(CUstream_st& stream, uint64_t last) {
  while (!stream.queue.empty() && stream.queue.front().number <= last) {
    const CUstream_st::Item item = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (&stream != &runtime().null_stream) {
      if (stream.blocking) run_until(runtime().null_stream, item.number);
    } else {
      for (cudaStream_t other : runtime().streams)
        if (other->blocking) run_until(*other, item.number);
    }
    item.work();
  }
}
//@end run-until

void run_all(CUstream_st& stream) {
  if (stream.queue.empty()) return;
  const DeviceMemoryOpen open;
  try {
    run_until(stream, UINT64_MAX);
  } catch (...) {  // what was queued behind a failure is lost
    runtime().null_stream.queue.clear();
    for (cudaStream_t other : runtime().streams) other->queue.clear();
    throw;
  }
}

void run_device() {
  run_all(runtime().null_stream);
  for (cudaStream_t stream : runtime().streams) run_all(*stream);
}

void add(cudaStream_t stream, Work work) {
  CUstream_st& queue = queue_of(stream);
  if (queue.capture)
    queue.capture->work.push_back(std::move(work));
  else
    queue.queue.push_back({++runtime().items, std::move(work)});
}

// Whether a wait is forbidden because a stream captures; that spoils the capture.
bool spoils_capture() {
  bool any = false;
  for (cudaStream_t stream : runtime().streams)
    if (stream->capture) any = stream->capture_failed = true;
  return any;
}

void check_direction(cudaMemcpyKind kind, bool to_device, bool from_device, const char* call) {
  static constexpr const char* names[] = {"host to host", "host to device", "device to host", "device to device"};
  const int is = 2 * from_device + to_device;
  if (kind != cudaMemcpyDefault && kind != is)
    throw Error(std::string(call) + ": says " + names[kind] + ", but the pointers are " + names[is]);
}

// Queues a copy; true if the host must wait for it.
bool add_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream, const char* call) {
  const MemoryKind target = memory_kind(to, bytes, call), source = memory_kind(from, bytes, call);
  const bool to_device = target == MemoryKind::device, from_device = source == MemoryKind::device;
  check_direction(kind, to_device, from_device, call);
  auto copy = [=](const void* data) {
    std::memmove(to, data, bytes);
    if (checker && to_device) checker->host_wrote(to, bytes);
  };
  if (source == MemoryKind::pageable && !queue_of(stream).capture) {  // staged: the caller may change it at once
    const char* data = static_cast<const char*>(from);
    add(stream, [copy, staged = std::vector<char>(data, data + bytes)] { copy(staged.data()); });
  } else {
    add(stream, [=] { copy(from); });
  }
  return target == MemoryKind::pageable;
}

void add_fill(void* p, int value, size_t bytes, cudaStream_t stream, const char* call) {
  if (memory_kind(p, bytes, call) != MemoryKind::device) throw Error(std::string(call) + ": not device memory");
  add(stream, [=] {
    std::memset(p, value, bytes);
    if (checker) checker->host_wrote(p, bytes);
  });
}

bool fits(const dim3& size, unsigned x, unsigned y, unsigned z) {
  return size.x >= 1 && size.y >= 1 && size.z >= 1 && size.x <= x && size.y <= y && size.z <= z;
}

}  // namespace

RuntimeCall::RuntimeCall() {
  runtime().mutex.lock();
  if (in_kernel()) throw Error("a kernel called the host's part of CUDA");
}
RuntimeCall::~RuntimeCall() { runtime().mutex.unlock(); }
cudaError_t RuntimeCall::end(cudaError_t error) const {
  if (error != cudaSuccess) runtime().last_error = error;
  return error;
}

uint64_t synchronisations() { return runtime().synchronisations; }

void wait_for_device() {
  ++runtime().synchronisations;
  run_device();
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::shared_ptr<const void> closure,
                   size_t closure_bytes, void (*call_kernel)(const void*)) {
  const RuntimeCall call;
  const dim3 block = config.blockDim;
  if (!known(config.stream)) return call.end(cudaErrorInvalidResourceHandle);
  if (!fits(config.gridDim, 0x7fffffff, 65535, 65535) || !fits(block, 1024, 1024, 64) ||
      block.x * block.y * block.z > max_threads)
    return call.end(cudaErrorInvalidConfiguration);
  const auto limit = runtime().shared_limit.find(kernel);
  if (config.dynamicSmemBytes > (limit == runtime().shared_limit.end() ? usual_dynamic_shared : limit->second))
    return call.end(cudaErrorInvalidValue);
  add(config.stream, [=, closure = std::move(closure)] {
    run_grid({config.gridDim, block, config.dynamicSmemBytes, kernel, call_kernel, closure.get(), closure_bytes});
    if (const std::string what = overwritten_guard(); !what.empty())
      throw Error(std::string("the kernel at ") + place_of_code(kernel).text + " " + what);
  });
  return cudaSuccess;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

cudaError_t cudaGetLastError() {
  const RuntimeCall call;
  return std::exchange(runtime().last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  const RuntimeCall call;
  return runtime().last_error;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const RuntimeCall call;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > max_dynamic_shared) return call.end(cudaErrorInvalidValue);
  runtime().shared_limit[kernel] = std::max(value, static_cast<int>(usual_dynamic_shared));
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  const bool wait = add_copy(to, from, bytes, kind, stream, "cudaMemcpyAsync");
  if (!wait || queue_of(stream).capture) return cudaSuccess;
  ++runtime().synchronisations;  // a copy to pageable memory returns when it is there
  run_all(queue_of(stream));
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const RuntimeCall call;
  if (spoils_capture()) return call.end(cudaErrorStreamCaptureUnsupported);
  if (bytes == 0) return cudaSuccess;
  add_copy(to, from, bytes, kind, nullptr, "cudaMemcpy");
  if (memory_kind(to, bytes, "cudaMemcpy") == MemoryKind::device &&
      memory_kind(from, bytes, "cudaMemcpy") == MemoryKind::device)
    return cudaSuccess;  // the host does not wait for these
  ++runtime().synchronisations;
  run_all(runtime().null_stream);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  if (bytes > 0) add_fill(p, value, bytes, stream, "cudaMemsetAsync");
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

cudaError_t cudaDeviceSynchronize() {
  const RuntimeCall call;
  if (spoils_capture()) return call.end(cudaErrorStreamCaptureUnsupported);
  wait_for_device();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const RuntimeCall call;
  *stream = new CUstream_st;
  (*stream)->blocking = flags != cudaStreamNonBlocking;
  runtime().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const RuntimeCall call;
  if (stream == nullptr || !known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  run_all(*stream);
  runtime().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  if (queue_of(stream).capture && spoils_capture()) return call.end(cudaErrorStreamCaptureUnsupported);
  ++runtime().synchronisations;
  run_all(queue_of(stream));
  return cudaSuccess;
}
// Time passes for who asks: the first question finds the stream busy, if it is, and the next finds it done.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  if (queue_of(stream).queue.empty()) return cudaSuccess;
  run_all(queue_of(stream));
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const RuntimeCall call;
  if (!known(stream) || event == nullptr) return call.end(cudaErrorInvalidResourceHandle);
  add(stream, [from = event->stream, number = event->number] {
    if (known(from)) run_until(queue_of(from), number);  // a destroyed stream has run everything
  });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream) || event == nullptr) return call.end(cudaErrorInvalidResourceHandle);
  add(stream, [event] { event->when = std::chrono::steady_clock::now(); });
  event->stream = stream;
  event->number = runtime().items;
  return cudaSuccess;
}
namespace {
bool is_done(const CUevent_st& event) {
  return !known(event.stream) || queue_of(event.stream).queue.empty() ||
         queue_of(event.stream).queue.front().number > event.number;
}
void finish(const CUevent_st& event) {
  if (is_done(event)) return;
  const DeviceMemoryOpen open;
  run_until(queue_of(event.stream), event.number);
}
}  // namespace
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const RuntimeCall call;
  if (event == nullptr) return call.end(cudaErrorInvalidResourceHandle);
  finish(*event);  // its record is still queued and refers to it
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const RuntimeCall call;
  if (event == nullptr) return call.end(cudaErrorInvalidResourceHandle);
  ++runtime().synchronisations;
  finish(*event);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const RuntimeCall call;
  if (event == nullptr) return call.end(cudaErrorInvalidResourceHandle);
  if (is_done(*event)) return cudaSuccess;
  finish(*event);  // as in cudaStreamQuery
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const RuntimeCall call;
  if (start == nullptr || end == nullptr || start->number == 0 || end->number == 0)
    return call.end(cudaErrorInvalidResourceHandle);
  if (!is_done(*start) || !is_done(*end)) return call.end(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - start->when).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const RuntimeCall call;
  if (stream == nullptr || !known(stream) || stream->capture) return call.end(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->capture_failed = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const RuntimeCall call;
  *graph = nullptr;
  if (stream == nullptr || !known(stream) || !stream->capture) return call.end(cudaErrorInvalidValue);
  const auto captured = std::exchange(stream->capture, nullptr).release();
  if (stream->capture_failed) {
    delete captured;
    return call.end(cudaErrorStreamCaptureInvalidated);
  }
  *graph = captured;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
// The hardware compares the kernels, too; here their number must do.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  const RuntimeCall call;
  info->result = executable->work.size() == graph->work.size() ? 0 : 1;
  if (info->result) return call.end(cudaErrorGraphExecUpdateFailure);
  executable->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const RuntimeCall call;
  if (!known(stream)) return call.end(cudaErrorInvalidResourceHandle);
  for (const Work& work : executable->work) add(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
