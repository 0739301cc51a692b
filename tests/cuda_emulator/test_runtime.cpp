// tests/cuda_emulator: the host's side: queued work, memory, errors; and what the emulator says about wrong kernels.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "tests/cuda_emulator/launch.h"

using namespace cuda_emulator_tests;
using cuda_emulator::synchronisations;

namespace {

__global__ void add_kernel(float* y, float x) { y[threadIdx.x] += x; }
__global__ void double_kernel(float* y) { y[threadIdx.x] *= 2; }
__global__ void half_waits_kernel() {
  if (threadIdx.x < 5) return;
  __syncthreads();
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads_or(1);
}
__global__ void lost_lane_kernel() {
  if (threadIdx.x != 9) __shfl_sync(0xffffffff, 1, 0);
}
__global__ void short_warp_kernel() { __syncwarp(); }
__global__ void foreign_mask_kernel() { __syncwarp(2); }
__global__ void mixed_warp_kernel() {
  if (threadIdx.x < 3)
    __syncwarp();
  else
    __ballot_sync(0xffffffff, 1);
}
[[maybe_unused]] __global__ void past_the_end_kernel(float* y) { y[threadIdx.x] = 1; }

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Stream {
  cudaStream_t stream = nullptr;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) { cudaStreamCreateWithFlags(&stream, flags); }
  ~Stream() { CHECK(cudaStreamDestroy(stream) == cudaSuccess); }
  operator cudaStream_t() const { return stream; }
};

// Memory that the device copies from and to on its own.
struct PageLocked {
  float* data = nullptr;
  explicit PageLocked(size_t n) {
    REQUIRE(cudaMallocHost(&data, n * sizeof(float)) == cudaSuccess);
    std::memset(data, 0, n * sizeof(float));
  }
  ~PageLocked() { CHECK(cudaFreeHost(data) == cudaSuccess); }
};

}  // namespace

TEST_CASE("emulator: work waits until the host does") {
  const Array<float> y({1.F, 2.F});
  const Stream stream;
  const PageLocked host(2);
  launch(add_kernel, 1, 2, 0, stream, y.data(), 10.F);
  cudaMemcpyAsync(host.data, y.data(), 8, cudaMemcpyDeviceToHost, stream);
  CHECK(host.data[0] == 0);  // who does not wait sees the past
  const auto before = synchronisations();
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(synchronisations() == before + 1);
  CHECK(host.data[0] == 11);
  // A synchronous copy waits for the null stream only, and that for no stream that is non-blocking.
  launch(add_kernel, 1, 2, 0, stream, y.data(), 10.F);
  CHECK(y.read()[0] == 11);
  CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(stream) == cudaSuccess);
  CHECK(y.read()[0] == 21);
  const Stream blocking(cudaStreamDefault);
  launch(add_kernel, 1, 2, 0, blocking, y.data(), 1.F);
  launch(double_kernel, 1, 2, 0, nullptr, y.data());
  launch(add_kernel, 1, 2, 0, blocking, y.data(), 1.F);
  CHECK(cudaStreamSynchronize(blocking) == cudaSuccess);
  CHECK(y.read()[0] == 45);
}

TEST_CASE("emulator: when a copy reads its source") {
  const Array<float> y(1);
  const Stream stream;
  float pageable = 1;
  cudaMemcpyAsync(y.data(), &pageable, 4, cudaMemcpyHostToDevice, stream);
  pageable = 2;  // too late: it was staged
  cudaStreamSynchronize(stream);
  CHECK(y.read()[0] == 1);
  const PageLocked host(1);
  *host.data = 1;
  cudaMemcpyAsync(y.data(), host.data, 4, cudaMemcpyHostToDevice, stream);
  *host.data = 2;  // too early
  cudaStreamSynchronize(stream);
  CHECK(y.read()[0] == 2);
  const auto before = synchronisations();
  cudaMemcpyAsync(&pageable, y.data(), 4, cudaMemcpyDeviceToHost, stream);  // back to ordinary memory: waits
  CHECK(pageable == 2);
  CHECK(synchronisations() == before + 1);
  cudaMemsetAsync(y.data(), 0, 4, stream);
  CHECK(y.read()[0] == 2);
  cudaStreamSynchronize(stream);
  CHECK(y.read()[0] == 0);
}

TEST_CASE("emulator: events order streams") {
  const Array<float> y(std::vector{1.F});
  const Stream first, second;
  cudaEvent_t event, end;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaEventCreate(&end);
  launch(add_kernel, 1, 1, 0, first, y.data(), 1.F);
  cudaEventRecord(event, first);
  launch(add_kernel, 1, 1, 0, first, y.data(), 100.F);
  cudaStreamWaitEvent(second, event, 0);
  launch(double_kernel, 1, 1, 0, second, y.data());
  cudaEventRecord(end, second);
  CHECK(cudaEventQuery(end) == cudaErrorNotReady);
  CHECK(cudaEventSynchronize(end) == cudaSuccess);
  CHECK(y.read()[0] == 4);  // the 100 came behind the event, and nobody has waited for it
  cudaDeviceSynchronize();
  CHECK(y.read()[0] == 104);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, event, end) == cudaSuccess);
  CHECK(milliseconds >= 0);
  cudaEventDestroy(event);
  cudaEventDestroy(end);
}

TEST_CASE("emulator: a graph repeats what a stream was given") {
  const Array<float> y(std::vector{1.F});
  const Stream stream;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  launch(add_kernel, 1, 1, 0, stream, y.data(), 1.F);
  launch(double_kernel, 1, 1, 0, stream, y.data());
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  cudaDeviceSynchronize();
  CHECK(y.read()[0] == 1);
  CHECK(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  for (int i = 0; i < 2; ++i) CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
  cudaStreamSynchronize(stream);
  CHECK(y.read()[0] == 10);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
  // A wait spoils a capture.
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
}

TEST_CASE("emulator: launches that cannot be") {
  const Array<float> y(1);
  CHECK(launch(add_kernel, 0, 1, 0, nullptr, y.data(), 1.F) == cudaErrorInvalidConfiguration);
  CHECK(launch(add_kernel, 1, 1025, 0, nullptr, y.data(), 1.F) == cudaErrorInvalidConfiguration);
  CHECK(launch(add_kernel, 1, dim3(32, 33), 0, nullptr, y.data(), 1.F) == cudaErrorInvalidConfiguration);
  CHECK(launch(add_kernel, dim3(1, 65536), 1, 0, nullptr, y.data(), 1.F) == cudaErrorInvalidConfiguration);
  CHECK(launch(half_waits_kernel, 1, 1, 50000, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(half_waits_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 232449) ==
        cudaErrorInvalidValue);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaFuncSetAttribute(half_waits_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000) == cudaSuccess);
  CHECK(launch(half_waits_kernel, 1, 1, 50000, nullptr) == cudaSuccess);
  cudaDeviceSynchronize();
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidValue)) == "cudaErrorInvalidValue");
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
}

TEST_CASE("emulator: threads that wait for ever") {
  in_all_orders([] {
    std::string error = error_of([] { launch(half_waits_kernel, dim3(1, 2), 64, 0, nullptr); });
    CHECK(contains(error, "block (0,"));
    CHECK(contains(error, "deadlock: it waits in __syncthreads at test_runtime.cpp:"));
    CHECK(contains(error, "but thread (0,0,0) has returned"));
    error = error_of([] { launch(two_barriers_kernel, 1, 64, 0, nullptr); });
    CHECK(contains(error, "divergent barriers: it calls __syncthreads"));
    error = error_of([] { launch(lost_lane_kernel, 1, 64, 0, nullptr); });
    CHECK(contains(error, "deadlock: it waits in __shfl_sync at test_runtime.cpp:"));
    CHECK(contains(error, "but thread (9,0,0) has returned"));
    error = error_of([] { launch(short_warp_kernel, 1, 48, 0, nullptr); });
    CHECK(contains(error, "lane 16 of its mask does not exist"));
    error = error_of([] { launch(foreign_mask_kernel, 1, 1, 0, nullptr); });
    CHECK(contains(error, "its mask lacks the caller"));
    error = error_of([] { launch(mixed_warp_kernel, 1, 32, 0, nullptr); });
    CHECK(contains(error, "its warp diverged: it calls"));
    // After an error everything works again.
    const Array<float> y(std::vector{1.F});
    launch(add_kernel, 1, 1, 0, nullptr, y.data(), 1.F);
    CHECK(y.read()[0] == 2);
  });
}

TEST_CASE("emulator: memory arrives filled, is counted and listed") {
  const size_t live = cuda_emulator::live_allocations().size();
  const auto count = cuda_emulator::allocations();
  size_t free_before, free_now, total;
  cudaMemGetInfo(&free_before, &total);
  float* y = nullptr;
  REQUIRE(cudaMalloc(&y, 1000) == cudaSuccess);
  CHECK(cuda_emulator::allocations() == count + 1);
  CHECK(cuda_emulator::live_allocations().size() == live + 1);
  cudaMemGetInfo(&free_now, &total);
  CHECK(free_now == free_before - 1000);
  float host;
  CHECK(cudaMemcpy(&host, y + 249, 4, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(std::isnan(host));
  CHECK(contains(error_of([&] { cudaMemcpy(&host, y + 250, 4, cudaMemcpyDeviceToHost); }), "says device to host"));
  CHECK(contains(error_of([&] { cudaMemset(y + 240, 0, 80); }), "80 bytes from byte 960 on, of an allocation of 1000"));
  CHECK(contains(error_of([&] { cudaMemcpy(y, &host, 4, cudaMemcpyDeviceToHost); }), "but the pointers are"));
  CHECK(contains(error_of([&] { cudaFree(y + 1); }), "cudaFree"));
  CHECK(cudaFree(y) == cudaSuccess);
  CHECK(contains(error_of([&] { cudaFree(y); }), "cudaFree"));
  CHECK(cuda_emulator::live_allocations().size() == live);
  CHECK(cudaMalloc(&y, size_t{1} << 40) == cudaErrorMemoryAllocation);
  CHECK(y == nullptr);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
}

#if !defined(__SANITIZE_ADDRESS__)  // which has its own ways to say it
TEST_CASE("emulator: a write past the end") {
  float* y = nullptr;
  REQUIRE(cudaMalloc(&y, 64 * 4) == cudaSuccess);
  const std::string error = error_of([&] { launch(past_the_end_kernel, 1, 65, 0, nullptr, y); });
  const bool plain = contains(error, "wrote past the end of an allocation of 256 bytes");
  const bool checked = contains(error, "out of bounds: it writes device memory that is not allocated at test_runtime.");
  CHECK((plain || checked));
  CHECK(cudaFree(y) == cudaSuccess);
}

TEST_CASE("emulator: the host cannot touch device memory") {
  const Array<float> y(std::vector{1.F});
  int out[2];
  REQUIRE(pipe(out) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDERR_FILENO);
    cuda_emulator::set_order(cuda_emulator::Order::forward);
    cudaMemset(y.data(), 0, 4);
    cudaDeviceSynchronize();
    _exit(y.data()[0] == 0 ? 0 : 1);
  }
  close(out[1]);
  std::string text(400, ' ');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, read(out[0], text.data(), text.size()))));
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(contains(text, "host code touched device memory"));
}
#endif
