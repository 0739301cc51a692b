// Chapter 25: two warps share the keys of a query and join what they found. --no-barrier: without waiting.
#include "docs/lessons/device_lesson.cuh"

using namespace switchyard::gpu;

struct Found {
  float largest, sum, y;
};

// A query's n keys, of values 0, 1, ..., shared by two warps.
template <bool careful>
__global__ void two_halves(const float* score, int n, Found* found) {
  __shared__ Found part[2];
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size, half = (n + 1) / 2, j = warp * half + lane;
  const bool own = (warp > 0 || lane < half) && j < n;
  //@begin halves
  const float mine = own ? score[j] : -INFINITY, largest = warp_max(mine);
  const float p = expf(mine - largest);
  const float sum = warp_sum(p), y = warp_sum(own ? p * j : 0);
  if (lane == 0) part[warp] = {largest, sum, y};
  if (careful) __syncthreads();
  const Found a = part[0], b = part[1];
  const float most = fmaxf(a.largest, b.largest);
  const float by_a = expf(a.largest - most), by_b = expf(b.largest - most);
  const float all = by_a * a.sum + by_b * b.sum;
  const float all_y = by_a * a.y + by_b * b.y;
  //@end halves
  if (threadIdx.x == 0) found[0] = a, found[1] = b, found[2] = {most, all, all_y};
}

template <bool careful>
int token_4() {
  const OnDevice<float> score({1, 2, 0, 0, 1});
  const OnDevice<Found> found(3);
  const std::string wrong =
      complaint_about([&] { launch(two_halves<careful>, 1, 64, 0, stream(), score.data(), 5, found.data()); });
  if (!wrong.empty()) return std::printf("%s\n", wrapped(wrong).c_str()), 0;
  for (const Found& f : found.read())
    std::printf("t4: largest %.0f  sum %.3f  y %.3f  y/sum %.3f\n", f.largest, f.sum, f.y, f.y / f.sum);
  return 0;
}

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", token_4<true>}, {"--no-barrier", token_4<false>}});
}
