// What the emulator says about itself and about code: the device's properties, the names of errors, files and lines.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/include/cuda_runtime.h"

extern "C" const char __executable_start, __data_start, _end;

namespace cuda_emulator {

namespace {
Text short_place(const char* file, size_t line) {
  const char* slash = std::strrchr(file, '/');
  Text text;
  std::snprintf(text.text, sizeof text.text, "%.80s:%zu", slash ? slash + 1 : file, line);
  return text;
}
}  // namespace

Text place(uint3 at) {
  Text text;
  std::snprintf(text.text, sizeof text.text, "(%u,%u,%u)", at.x, at.y, at.z);
  return text;
}
Text place(const Location& where) { return short_place(where.file, where.line); }

// A kernel's own text, not a wrapper of an instruction.
static bool is_kernel_file(const char* file) {
  const char* dot = std::strrchr(file, '.');
  const bool wrapper = dot && dot - file >= 3 && std::strncmp(dot - 3, "ptx", 3) == 0;
  return dot && !wrapper && (std::strcmp(dot, ".cu") == 0 || std::strcmp(dot, ".cuh") == 0);
}

// addr2line knows which functions were inlined where: of these frames, innermost first, the first in a kernel file.
Text place_of_code(const void* address) {
  char executable[4096] = {}, command[4300], line[4096];
  if (readlink("/proc/self/exe", executable, sizeof executable - 1) < 0) return {"?"};
  const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(&__executable_start);
  std::snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", executable, size_t{offset});
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return {"?"};
  Text first{"?"};
  bool found = false;
  for (int frame = 0; std::fgets(line, sizeof line, pipe); ++frame) {
    char* colon = std::strrchr(line, ':');
    if (colon == nullptr || found) continue;
    *colon = 0;
    found = is_kernel_file(line);
    if (found || frame == 0) first = short_place(line, std::strtoul(colon + 1, nullptr, 10));
  }
  pclose(pipe);
  return first;
}

Text place_of_caller(const void* return_address) { return place_of_code(static_cast<const char*>(return_address) - 1); }

bool is_shared(const void* p) { return p >= &__data_start && p < &_end; }

void note_atomic(const void* p, size_t bytes, const void* code) {
  const Unwatched own;
  if (checker) checker->access(p, bytes, Checker::Kind::atomic, code);
}
void note_fence() {
  if (checker) checker->fence();
}

unsigned ballot(unsigned mask, bool predicate, const char* name, Location where) {
  Vote<bool> mine{predicate, 0};
  warp_operation(
      mask, name, &mine,
      [](void* const all[32], unsigned mask) {
        unsigned votes = 0;
        for (int lane = 0; lane < 32; ++lane)
          if ((mask >> lane & 1) && static_cast<Vote<bool>*>(all[lane])->value) votes |= 1U << lane;
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) static_cast<Vote<bool>*>(all[lane])->same = votes;
      },
      where);
  return mine.same;
}

namespace {
int capability() {
  const char* wanted = std::getenv("CUDA_EMULATOR_CAPABILITY");
  return wanted ? std::atoi(wanted) : 90;
}
struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
constexpr ErrorText errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
};
const ErrorText* find(cudaError_t error) {
  for (const ErrorText& e : errors)
    if (e.error == error) return &e;
  return nullptr;
}
}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* e = find(error);
  return e ? e->text : "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* e = find(error);
  return e ? e->name : "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = max_threads;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = usual_dynamic_shared;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = 32;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = 4 << 20;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = capability() / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = capability() % 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = max_dynamic_shared;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *properties = {};
  std::strcpy(properties->name, "CUDA emulator");
  properties->major = capability() / 10;
  properties->minor = capability() % 10;
  properties->multiProcessorCount = 4;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = max_threads;
  properties->l2CacheSize = 4 << 20;
  size_t free;
  cudaMemGetInfo(&free, &properties->totalGlobalMem);
  properties->sharedMemPerBlock = usual_dynamic_shared;
  properties->sharedMemPerBlockOptin = max_dynamic_shared;
  return cudaSuccess;
}
