// Chapter 5: how often a matrix product reads its operands, with tiles of it in shared memory and without.
#include "docs/lessons/device_lesson.cuh"

using namespace switchyard::gpu;

// A matrix on the device that counts how often it is read.
struct Matrix {
  const float* data;
  int rows, cols;
  unsigned long long* reads;
  __device__ float operator()(int i, int j) const {
    atomicAdd(reads, 1ULL);
    return data[i * cols + j];
  }
};

__global__ void one_element(Matrix a, Matrix b, float* c) {
  const int m = blockIdx.y * blockDim.y + threadIdx.y, n = blockIdx.x * blockDim.x + threadIdx.x;
  if (m >= a.rows || n >= b.cols) return;
  float sum = 0;
  for (int k = 0; k < a.cols; ++k) sum += a(m, k) * b(k, n);
  c[m * b.cols + n] = sum;
}

template <int size, bool careful>
__global__ void shared_tile(Matrix a, Matrix b, float* c) {
  __shared__ float x[size][size], y[size][size];
  const int i = threadIdx.y, j = threadIdx.x, m = blockIdx.y * size + i, n = blockIdx.x * size + j;
  float sum = 0;
  //@begin shared-tile
  for (int first = 0; first < a.cols; first += size) {
    const int k = first + j, l = first + i;
    x[i][j] = m < a.rows && k < a.cols ? a(m, k) : 0.f;
    y[i][j] = l < b.rows && n < b.cols ? b(l, n) : 0.f;
    __syncthreads();
    for (int k = 0; k < size; ++k) sum += x[i][k] * y[k][j];
    if (careful) __syncthreads();
  }
  //@end shared-tile
  if (m < a.rows && n < b.cols) c[m * b.cols + n] = sum;
}

// Exercise: write this. 16 x 16 threads, each of which computes 2 x 2 elements of a 32 x 32 tile of c.
__global__ void mine(Matrix a, Matrix b, float* c) {
  const int m = blockIdx.y * 32 + threadIdx.y, n = blockIdx.x * 32 + threadIdx.x;
  if (m < a.rows && n < b.cols) c[m * b.cols + n] = 0;
}

// Runs blocks of threads x threads for tiles of tile x tile. Returns how often a and b were read.
using Kernel = void (*)(Matrix, Matrix, float*);
int run(Kernel kernel, int tile, int threads, int M, int N, int K, std::string& wrong) {
  const std::vector<float> a = whole_numbers<float>(M * K, 1), b = whole_numbers<float>(K * N, 2);
  const OnDevice<float> da(a), db(b), c(M * N);
  const OnDevice<unsigned long long> reads(std::vector<unsigned long long>{0});
  const dim3 grid(blocks_for(N, tile), blocks_for(M, tile)), block(threads, threads);
  try {
    launch(kernel, grid, block, 0, stream(), Matrix{da.data(), M, K, reads.data()},
           Matrix{db.data(), K, N, reads.data()}, c.data());
    wrong = difference(c.read(), plain_product(M, N, K, a, b, false), N);
    return int(reads.read()[0]);
  } catch (const std::exception& error) {
    return wrong = error.what(), 0;
  }
}

void count(const char* name, Kernel kernel, int size) {
  std::string wrong;
  const int six = run(kernel, size, size, 6, 4, 4, wrong), many = run(kernel, size, size, 48, 40, 33, wrong);
  std::printf("%-26s %12d %22d%s\n", name, six, many, wrong.c_str());
}

int counted() {
  std::printf("A and B are read                6 x 4 over 4         48 x 40 over 33\n");
  count("an element a thread", one_element, 16);
  count("2 x 2 tiles", shared_tile<2, true>, 2);
  count("16 x 16 tiles", shared_tile<16, true>, 16);
  return 0;
}

int without_barrier() {
  std::string wrong;
  run(shared_tile<16, false>, 16, 16, 20, 20, 20, wrong);
  return std::puts(wrapped(wrong).c_str()), 0;
}

int exercise() {
  for (const auto [M, N, K] : {dim3(32, 32, 32), dim3(1, 1, 1), dim3(33, 31, 17), dim3(70, 50, 40), dim3(5, 64, 1)}) {
    std::string wrong;
    const unsigned reads = run(mine, 32, 16, M, N, K, wrong), enough = (M * ((N + 31) / 32) + N * ((M + 31) / 32)) * K;
    if (wrong.empty() && reads > enough)
      wrong = std::to_string(reads) + " reads; shared tiles need " + std::to_string(enough);
    if (!wrong.empty()) return std::printf("%u x %u over %u: %s\n", M, N, K, wrong.c_str()), 2;
  }
  return std::puts("passed"), 0;
}

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", counted}, {"--no-barrier", without_barrier}, {"--exercise", exercise}});
}
