#include "tests/bench/cublas.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include "tensor/error.h"

namespace switchyard::gpu {
cudaStream_t stream();
}

namespace switchyard::bench {
namespace {

// Of cublas_api.h and library_types.h.
constexpr int success = 0, not_transposed = 0, transposed = 1;
constexpr int real_f32 = 0, real_bf16 = 14, compute_f32 = 68, default_algorithm = -1, default_math = 0;

template <class Function>
bool resolve(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

const Cublas* Cublas::find() {
  static const Cublas* found = [] {
    Cublas* cublas = new Cublas;  // never destroyed: the driver may be gone before static objects are
    return cublas->open() ? cublas : nullptr;
  }();
  return found;
}

bool Cublas::open() {
  void* library = nullptr;
  for (const char* name : {"libcublas.so.13", "libcublas.so.12"})
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  int (*create)(void**);
  int (*set_stream)(void*, cudaStream_t);
  int (*set_math)(void*, int);
  int (*get_version)(void*, int*);
  if (!library || !resolve(library, "cublasCreate_v2", create) || !resolve(library, "cublasSetStream_v2", set_stream) ||
      !resolve(library, "cublasSetMathMode", set_math) || !resolve(library, "cublasGetVersion_v2", get_version) ||
      !resolve(library, "cublasGemmEx", gemm_ex_))
    return false;
  if (create(&handle_) != success || set_stream(handle_, gpu::stream()) != success ||
      set_math(handle_, default_math) != success)
    return false;
  int version = 0;
  get_version(handle_, &version);
  version_ = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  return true;
}

// cuBLAS counts columns first, so what it is asked for is C^T = op(B)^T op(A)^T, which lies in memory as C does.
void Cublas::multiply(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const void* a, const void* b,
                      int type, void* c) const {
  const float one = 1, zero = 0;
  const int error =
      gemm_ex_(handle_, transpose_b ? transposed : not_transposed, transpose_a ? transposed : not_transposed, int(N),
               int(M), int(K), &one, b, type, int(transpose_b ? K : N), a, type, int(transpose_a ? M : K), &zero, c,
               type, int(N), compute_f32, default_algorithm);
  check(error == success, "cuBLAS: error {} for {} x {} x {}", error, M, N, K);
}

void Cublas::gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const float* a, const float* b,
                  float* c) const {
  multiply(transpose_a, transpose_b, M, N, K, a, b, real_f32, c);
}
void Cublas::gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const bf16* a, const bf16* b,
                  bf16* c) const {
  multiply(transpose_a, transpose_b, M, N, K, a, b, real_bf16, c);
}

}  // namespace switchyard::bench
