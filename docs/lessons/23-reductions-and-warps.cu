// Chapter 23: a sum by a warp and an online softmax. --race: a barrier too few. --branch: lanes missing. --exercise.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/rows.cuh"

using namespace switchyard;
using namespace switchyard::gpu;
const std::vector<float> scores = {2, 1, 0, -1, 1, 0, 2, 0, 0,    1.5f, 1.5f, 0.5f,  // (T, E)
                                   2, 0, 1, 0,  1, 2, 0, 0, 1.5f, 0.5f, -1,   0.5f};

// seen[step][lane]: what the lanes of a warp hold before the first step of warp_sum, and after each.
__global__ void steps_kernel(int n, const float* x, float* seen) {
  const int lane = threadIdx.x;
  float mine = seen[lane] = lane < n ? x[lane] : 0;
  for (int other = warp_size / 2, step = 1; other > 0; other /= 2, ++step) {
    mine += __shfl_xor_sync(whole_warp, mine, other);
    seen[step * warp_size + lane] = mine;
  }
}

// The online softmax's shift and sum after each number of a row.
__global__ void online_kernel(int n, const float* row, float* seen) {
  ExpSum all;
  for (int e = 0; e < n; ++e) {
    all.add(Floats<1>{row[e]});
    seen[2 * e] = all.shift, seen[2 * e + 1] = all.sum;
  }
}

int show() {
  const OnDevice<float> x(scores), seen(6 * warp_size), pairs(8), y(24);
  launch(steps_kernel, 1, warp_size, 0, stream(), 24, x.data(), seen.data());
  const std::vector<float> lanes = seen.read();
  for (int i = 0; i < 6 * warp_size; ++i) {
    if (i % warp_size == 0) std::printf("%sstep %d, lanes 0 to 9:", i ? "\n" : "", i / warp_size);
    if (i % warp_size < 10) std::printf(" %4.1f", lanes[i]);
  }
  launch(online_kernel, 1, 1, 0, stream(), 4, x.data() + 4, pairs.data());  // token 1
  kernels<float>(Device::cuda).softmax(6, 4, x.data(), y.data());
  const std::vector<float> all = pairs.read(), p = y.read();
  for (int e = 0; e < 4; ++e)
    std::printf("%stoken 1, expert %d: score %.0f, shift %.0f, sum %.4f, probability %.4f\n", e ? "" : "\n", e,
                scores[4 + e], all[2 * e], all[2 * e + 1], p[4 + e]);
  return 0;
}

//@begin hasty
template <int threads>
__device__ float hasty_sum(float x) {
  __shared__ float part[threads / warp_size];
  x = warp_sum(x);
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  float total = 0;
  for (int w = 0; w < threads / warp_size; ++w) total += part[w];
  return total;
}
//@end hasty
__global__ void variance_kernel(const float* x, float* y) {
  const float mean = hasty_sum<64>(x[threadIdx.x]) / 64, off = x[threadIdx.x] - mean;
  y[threadIdx.x] = hasty_sum<64>(off * off) / 64;
}
//@begin branch
__global__ void branch_kernel(const float* x, float* y) {
  if (threadIdx.x < 24) y[threadIdx.x] = warp_sum(x[threadIdx.x]);
}
//@end branch

int complain(void (*kernel)(const float*, float*), int threads) {
  const OnDevice<float> x(std::vector<float>(64, 1)), y(64);
  const auto mistake = [&] { launch(kernel, 1, threads, 0, stream(), x.data(), y.data()); };
  return std::printf("%s\n", wrapped(complaint_about(mistake)).c_str()), 0;
}
int race() { return complain(variance_kernel, 64); }
int branch() { return complain(branch_kernel, 32); }

// Exercise: write this. The 64 threads of block r look through row r; best[r] = its largest number's column, the lowest
// of equals. What they share lies in __shared__ arrays.
__global__ void best_kernel(int cols, const float* x, int* best) {
  if (threadIdx.x == 0) best[blockIdx.x] = x[0] > x[cols - 1] ? 0 : cols - 1;
}
std::string wrong_at(int rows, int cols) {
  std::vector<float> x = whole_numbers<float>(rows * cols, 3);
  for (int i = 0; i < rows * cols; ++i) x[i] += float(i % cols / 64 * 4);  // larger and larger
  const OnDevice<float> in(x);
  const OnDevice<int> best(rows);
  const auto run = [&] { launch(best_kernel, rows, 64, 0, stream(), cols, in.data(), best.data()); };
  if (const std::string complaint = complaint_about(run); !complaint.empty()) return complaint;
  std::vector<int> right(rows), got = best.read();
  for (int i = 0; i < rows * cols; ++i)
    if (x[i] > x[i / cols * cols + right[i / cols]]) right[i / cols] = i % cols;
  char text[60] = "";
  for (int r = 0; r < rows && !*text; ++r)
    if (got[r] != right[r]) std::snprintf(text, sizeof text, "best[%d] is %d, not %d", r, got[r], right[r]);
  return text;
}
int exercise() { return verdict(wrong_at, {{6, 4}, {1, 1}, {3, 33}, {2, 64}, {5, 65}, {4, 257}}); }

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", show}, {"--race", race}, {"--branch", branch}, {"--exercise", exercise}});
}
