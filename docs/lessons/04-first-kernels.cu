// Chapter 4: a kernel of our own, and what a warp's loads cost. --bounds: one without a guard. --exercise: yours.
#include <set>

#include "docs/lessons/device_lesson.cuh"

using namespace switchyard;
using namespace switchyard::gpu;

const std::vector<float> scores = {2, 1, 0, -1, 1, 0, 2, 0, 0,    1.5f, 1.5f, 0.5f,  // (T, E)
                                   2, 0, 1, 0,  1, 2, 0, 0, 1.5f, 0.5f, -1,   0.5f};

//@begin sectors
// Lane l of a warp loads `width` floats from element first + l * step on.
int sectors(int first, int step, int width) {
  std::set<int> touched;
  for (int lane = 0; lane < warp_size; ++lane)
    for (int j = 0; j < width; ++j)
      touched.insert((first + lane * step + j) * int(sizeof(float)) / 32);
  return int(touched.size());
}
//@end sectors

void count_sectors(const char* name, int first, int step, int width) {
  const int count = sectors(first, step, width), used = 100 * warp_size * width * 4 / (32 * count);
  std::printf("%-20s  %5d  %4d  %5d  %7d  %9d%%\n", name, first, step, width, count, used);
}

//@begin kernel
__global__ void twice_kernel(int n, const float* x, float* y, int* owner) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    y[i] = 2 * x[i];
    owner[i] = 10 * blockIdx.x + threadIdx.x;  // two digits: block, thread
  }
}
//@end kernel

void scores_twice() {
  const int n = 24, threads = 10;
  const OnDevice<float> x(scores), y(n);
  const OnDevice<int> owner(n);
  //@begin launch
  const unsigned blocks = blocks_for(n, threads);  // 3
  launch(twice_kernel, blocks, threads, 0, stream(), n, x.data(), y.data(),
         owner.data());
  //@end launch
  const std::vector<float> doubled = y.read();
  const std::vector<int> by = owner.read();
  for (int i = 0; i < n; ++i) {
    if (i % 4 == 0) std::printf("token %d:", i / 4);
    std::printf("  %4.1f by %d.%d%s", doubled[i], by[i] / 10, by[i] % 10, i % 4 == 3 ? "\n" : "");
  }
}

int show() {
  scores_twice();
  std::printf("a warp's load         first  step  width  sectors  bytes used\n");
  count_sectors("neighbours", 0, 1, 1), count_sectors("shifted by one", 1, 1, 1);
  count_sectors("backwards", 31, -1, 1), count_sectors("every second", 0, 2, 1);
  count_sectors("a column of (T, 32)", 0, 32, 1), count_sectors("packs of four", 0, 4, 4);
  std::vector<float> host(24);
  const OnDevice<float> x(scores), y(24);
  kernels<float>(Device::cpu).dropout(24, 0.5, {7, 1}, scores.data(), host.data());
  kernels<float>(Device::cuda).dropout(24, 0.5, {7, 1}, x.data(), y.data());
  std::printf("dropout on the GPU equals the CPU's: %s\n", y.read() == host ? "true" : "false");
  return 0;
}

//@begin unguarded
__global__ void unguarded_kernel(const float* x, float* y) {
  const int64_t i = global_index();
  y[i] = 2 * x[i];
}
//@end unguarded

int bounds() {
  const OnDevice<float> x(scores), y(24);
  const auto mistake = [&] { launch(unguarded_kernel, 3, 10, 0, stream(), x.data(), y.data()); };
  return std::printf("%s\n", wrapped(complaint_about(mistake)).c_str()), 0;
}

// Exercise: write this. y[r][c] = gate[r] * x[r][c], for any number of rows and columns and any number of threads.
__global__ void gate_rows_kernel(int rows, int cols, const float* gate, const float* x, float* y) {
  if (blockIdx.x == 0 && threadIdx.x == 0 && rows * cols > 0) y[0] = gate[0] * x[0];
}
// What is wrong with it, on 3 blocks of 32 threads.
std::string wrong_at(int rows, int cols) {
  const std::vector<float> gate = whole_numbers<float>(rows, 1), x = whole_numbers<float>(rows * cols, 2);
  const OnDevice<float> g(gate), in(x), y(x.size());
  std::vector<float> right;
  for (int i = 0; i < rows * cols; ++i) right.push_back(gate[i / cols] * x[i]);
  const auto run = [&] { launch(gate_rows_kernel, 3, 32, 0, stream(), rows, cols, g.data(), in.data(), y.data()); };
  const std::string complaint = complaint_about(run);
  return complaint.empty() ? difference(y.read(), right, cols) : complaint;
}
int exercise() { return verdict(wrong_at, {{6, 4}, {1, 1}, {3, 33}, {97, 1}, {5, 200}}); }

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", show}, {"--bounds", bounds}, {"--exercise", exercise}});
}
