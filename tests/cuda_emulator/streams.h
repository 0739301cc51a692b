// Queued work.
#pragma once
#include "tests/cuda_emulator/runtime_api.h"

namespace cuda_emulator {

// Held during each call of the runtime: one host thread at a time.
class RuntimeCall {
 public:
  RuntimeCall();
  ~RuntimeCall();
  RuntimeCall(const RuntimeCall&) = delete;
  RuntimeCall& operator=(const RuntimeCall&) = delete;
  cudaError_t end(cudaError_t error) const;  // keeps it for cudaGetLastError
};

// Runs everything that is queued; counts as a synchronisation.
void wait_for_device();

}  // namespace cuda_emulator
