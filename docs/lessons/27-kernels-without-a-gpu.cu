// Chapter 27: the emulator at work. --race: the checker's sentence; --deadlock: a barrier that not all reach;
// --exercise: yours. This lesson speaks to the emulator itself, so it is none for a real GPU.
#include "docs/lessons/device_lesson.cuh"
#include "tests/cuda_emulator/checker.h"

using namespace switchyard;
using namespace switchyard::gpu;
using cuda_emulator::Order;

//@begin next
// y[t] = x[t + 1], and x[0] for the last thread, by way of shared memory.
template <bool barrier>
__global__ void next_kernel(int n, const float* x, float* y) {
  DYNAMIC_SHARED(float, s);
  const int t = threadIdx.x;
  s[t] = x[t];
  if constexpr (barrier) __syncthreads();
  y[t] = s[(t + 1) % n];
}
//@end next

const std::vector<float> tokens = {0, 1, 2, 3, 4, 5};  // six tokens

template <bool barrier>
std::vector<float> next() {
  const int n = int(tokens.size());
  const OnDevice<float> x(tokens), y(n);
  launch(next_kernel<barrier>, 1, n, n * sizeof(float), stream(), n, x.data(), y.data());
  return y.read();
}

void print_in_all_orders(const char* what, std::vector<float> (*run)()) {
  const std::pair<Order, const char*> orders[] = {
      {Order::forward, "forward"}, {Order::reverse, "reverse"}, {Order::shuffled, "shuffled"}};
  for (const auto& [order, name] : orders) {
    cuda_emulator::set_order(order, 3);
    std::printf("%-16s %-9s", what, name);
    for (const float v : run()) std::isnan(v) ? std::printf("   nan") : std::printf("%6g", v);
    std::printf("\n");
  }
  cuda_emulator::set_order(Order::forward);
}

//@begin early
// The host copies the first result, and looks before it has waited.
void look_early() {
  float* host;
  check_cuda(cudaMallocHost(&host, sizeof(float)), "memory");
  *host = -1;
  const OnDevice<float> x(std::vector<float>{7}), y(1);
  launch(next_kernel<true>, 1, 1, sizeof(float), stream(), 1, x.data(), y.data());
  check_cuda(cudaMemcpyAsync(host, y.data(), 4, cudaMemcpyDeviceToHost, stream()), "copy");
  std::printf("before waiting %g, ", *host);
  check_cuda(cudaStreamSynchronize(stream()), "kernel");
  std::printf("after waiting %g\n", *host);
  check_cuda(cudaFreeHost(host), "memory");
}
//@end early

int show() {
  cuda_emulator::checker->watch(false);
  cuda_emulator::Checker* const checker = std::exchange(cuda_emulator::checker, nullptr);  // orders alone, at first
  print_in_all_orders("with a barrier", next<true>);
  print_in_all_orders("without", next<false>);
  cuda_emulator::checker = checker;
  look_early();
  return 0;
}

int race() {
  return std::printf("%s\n", wrapped(complaint_about([] { next<false>(); })).c_str()), 0;
}

//@begin half
__global__ void half_kernel(float* y) {
  if (threadIdx.x < 3) return;
  __syncthreads();  // three of six are gone
  y[threadIdx.x] = 1;
}
//@end half

int deadlock() {
  const OnDevice<float> y(6);
  const auto mistake = [&] { launch(half_kernel, 1, 6, 0, stream(), y.data()); };
  return std::printf("%s\n", wrapped(complaint_about(mistake)).c_str()), 0;
}

// Exercise: write this. y (cols x rows) is x (rows x cols) transposed; one block of 8 x 8 threads and one shared tile
// for each 8 x 8 piece, read and written in rows.
__global__ void transpose_kernel(int rows, int cols, const float* x, float* y) {
  if (blockIdx.x + blockIdx.y + threadIdx.x + threadIdx.y == 0 && rows * cols > 0) y[0] = x[0];
}
std::string wrong_at(int rows, int cols) {
  const std::vector<float> x = whole_numbers<float>(rows * cols, 1);
  std::vector<float> right(x.size());
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c) right[c * rows + r] = x[r * cols + c];
  std::string wrong;
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled}) {
    cuda_emulator::set_order(order, 3);
    const OnDevice<float> in(x), y(x.size());
    const dim3 grid(blocks_for(cols, 8), blocks_for(rows, 8));
    wrong = complaint_about(
        [&] { launch(transpose_kernel, grid, dim3(8, 8), 0, stream(), rows, cols, in.data(), y.data()); });
    if (wrong.empty()) wrong = difference(y.read(), right, rows);
    if (!wrong.empty()) break;
  }
  return wrong;
}
int exercise() { return verdict(wrong_at, {{8, 8}, {1, 1}, {6, 4}, {9, 17}, {33, 5}}); }

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", show}, {"--race", race}, {"--deadlock", deadlock}, {"--exercise", exercise}});
}
