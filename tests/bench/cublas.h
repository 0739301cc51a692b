// NVIDIA's cuBLAS as a yardstick. It is looked for when the program runs and needed by nothing: neither its headers nor
// its library when this is built.
#pragma once
#include <cstdint>
#include <string>

#include "tensor/bf16.h"

namespace switchyard::bench {

class Cublas {
 public:
  // Null where the library is missing or has no device to use.
  static const Cublas* find();

  // C = op(A) op(B), row-major, queued on the stream of our own kernels. f32 is multiplied in f32 (no TF32); bf16 is
  // summed in f32.
  void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const float* a, const float* b,
            float* c) const;
  void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const bf16* a, const bf16* b,
            bf16* c) const;
  const std::string& version() const { return version_; }

 private:
  using GemmEx = int(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
                     int type_a, int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c,
                     int ldc, int compute, int algorithm);

  Cublas() = default;
  bool open();
  void multiply(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const void* a, const void* b,
                int type, void* c) const;

  void* handle_ = nullptr;
  GemmEx* gemm_ex_ = nullptr;
  std::string version_;
};

}  // namespace switchyard::bench
