// The emulator's Hopper: what its copies and products give, and that it reports those who do not wait for them. The
// real kernels that use them are tests/device/test_hopper.cpp's.
#include <cstring>

#include "tests/cuda_emulator/launch.h"

using namespace cuda_emulator_tests;
using cuda_emulator::Barrier;
using cuda_emulator::TensorMap;

namespace {

uint16_t bf16_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t(bits >> 16);
}

struct Shared {
  char *tile, *other;  // 8 KiB each
  Barrier* barrier;

  explicit Shared(char* memory) {
    tile = memory + -cuda_emulator::shared_address(memory) % 1024;
    other = tile + 8192;
    barrier = reinterpret_cast<Barrier*>(other + 8192);
  }
};
constexpr size_t shared_bytes = 1024 + 2 * 8192 + 8;

void start(const Shared& shared, int arrivals) {
  if (threadIdx.x == 0) cuda_emulator::mbarrier_init(shared.barrier, arrivals);
  __syncthreads();
}

// One box of 8 lines, as it lies in shared memory.
__global__ void copy_kernel(const TensorMap map, int x, int y, int z, bool wait, uint16_t* out) {
  DYNAMIC_SHARED(char, memory);
  const Shared shared(memory);
  start(shared, 1);
  if (threadIdx.x == 0) {
    cuda_emulator::mbarrier_arrive(shared.barrier, 1024);
    cuda_emulator::tma_load(shared.tile, map, x, y, z, shared.barrier);
  }
  if (wait) cuda_emulator::mbarrier_wait(shared.barrier, 0);
  for (int i = int(threadIdx.x); i < 512; i += int(blockDim.x)) std::memcpy(out + i, shared.tile + 2 * i, 2);
}

enum class Flaw { none, no_wait, no_fence, wrong_count, too_many_arrivals, no_start };

// d (64 x 64) = a b^T, both 64 x 64 and along k, by one warpgroup.
__global__ void product_kernel(const TensorMap a, const TensorMap b, Flaw flaw, float* out) {
  DYNAMIC_SHARED(char, memory);
  const Shared shared(memory);
  if (flaw != Flaw::no_start) start(shared, flaw == Flaw::wrong_count ? 2 : 1);
  if (threadIdx.x == 0) {
    cuda_emulator::mbarrier_arrive(shared.barrier, 16384);
    cuda_emulator::tma_load(shared.tile, a, 0, 0, 0, shared.barrier);
    cuda_emulator::tma_load(shared.other, b, 0, 0, 0, shared.barrier);
    if (flaw == Flaw::too_many_arrivals) cuda_emulator::mbarrier_arrive(shared.barrier, 0);
  }
  cuda_emulator::mbarrier_wait(shared.barrier, 0);
  float d[32] = {};
  if (flaw != Flaw::no_fence) cuda_emulator::wgmma_fence();
  for (int k = 0; k < 64; k += 16) {
    const auto descriptor = [&](const char* tile) {
      return uint64_t{cuda_emulator::shared_address(tile + 2 * k) >> 4} | uint64_t{64} << 32 | uint64_t{1} << 62;
    };
    cuda_emulator::wgmma(d, 64, descriptor(shared.tile), descriptor(shared.other), false, false);
  }
  cuda_emulator::wgmma_commit();
  if (flaw != Flaw::no_wait) cuda_emulator::wgmma_wait(0);
  for (int i = 0; i < 32; ++i) {
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    out[(16 * warp + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
  }
}

}  // namespace

TEST_CASE("hopper: a box is zeros beyond its matrix, and its chunks are permuted") {
  const int width = 72, lines = 11, layers = 2;
  std::vector<uint16_t> matrix(size_t(width * lines * layers));
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = uint16_t(i + 1);
  const Array<uint16_t> from(matrix), to(512);
  const TensorMap map = cuda_emulator::tensor_map(from.data(), width, lines, layers, 64, 8);
  const int corners[][3] = {{0, 0, 0}, {64, 0, 1}, {8, 8, 0}, {0, 16, 1}, {128, 0, 0}, {-8, -3, 1}, {0, 0, 2}};
  for (const auto& [x, y, z] : corners)
    in_all_orders([&, x = x, y = y, z = z] {
      CAPTURE(x);
      CAPTURE(y);
      launch(copy_kernel, 1, 64, shared_bytes, nullptr, map, x, y, z, true, to.data());
      const std::vector<uint16_t> got = to.read();
      bool same = true;
      for (int line = 0; line < 8; ++line)
        for (int i = 0; i < 64; ++i) {
          const bool exists = x + i >= 0 && x + i < width && y + line >= 0 && y + line < lines && z < layers;
          const int place = line * 64 + (i / 8 ^ line) * 8 + i % 8;
          same = same && got[size_t(place)] == (exists ? ((z * lines + y + line) * width + x + i) + 1 : 0);
        }
      CHECK(same);
    });
}

TEST_CASE("hopper: a product of a warpgroup, and what is done wrong with it") {
  std::vector<uint16_t> a(64 * 64), b(64 * 64);
  std::vector<float> want(64 * 64);
  const auto value = [](size_t i, size_t k) { return float((i * 7 + k * 3) % 11) - 5; };
  for (size_t i = 0; i < 64; ++i)
    for (size_t k = 0; k < 64; ++k) a[i * 64 + k] = bf16_of(value(i, k)), b[i * 64 + k] = bf16_of(value(k, i));
  for (size_t i = 0; i < 64; ++i)
    for (size_t j = 0; j < 64; ++j)
      for (size_t k = 0; k < 64; ++k) want[i * 64 + j] += value(i, k) * value(k, j);
  const Array<uint16_t> left(a), right(b);
  const Array<float> out(64 * 64);
  const TensorMap map_a = cuda_emulator::tensor_map(left.data(), 64, 64, 1, 64, 64);
  const TensorMap map_b = cuda_emulator::tensor_map(right.data(), 64, 64, 1, 64, 64);
  const auto run = [&](Flaw flaw) {
    return error_of([&] { launch(product_kernel, 1, 128, shared_bytes, nullptr, map_a, map_b, flaw, out.data()); });
  };
  in_all_orders([&] {
    CHECK(run(Flaw::none) == "");
    CHECK((out.read() == want));
  });
  const auto finds = [&](Flaw flaw, const char* words) {
    const std::string error = run(flaw);
    CHECK_MESSAGE(error.find(words) != std::string::npos, error);
  };
  finds(Flaw::no_wait, "nobody has waited for");
  finds(Flaw::no_fence, "wgmma.fence");
  finds(Flaw::wrong_count, "deadlock: it waits in mbarrier.try_wait at test_hopper.cpp:");
  finds(Flaw::too_many_arrivals, "more arrivals than the 1 of a phase");
  finds(Flaw::no_start, "never initialised");
}

TEST_CASE("hopper: who does not wait for a copy reads NaN, and is reported") {
  const Array<uint16_t> from(std::vector<uint16_t>(64 * 8, 1)), to(512);
  const TensorMap map = cuda_emulator::tensor_map(from.data(), 64, 8, 1, 64, 8);
  const std::string error =
      error_of([&] { launch(copy_kernel, 1, 64, shared_bytes, nullptr, map, 0, 0, 0, false, to.data()); });
  // With the access checker it does not even get to the end.
  CHECK_MESSAGE((error.find("TMA copies that nobody has waited for") != std::string::npos ||
                 error.find("has not brought yet") != std::string::npos),
                error);
}

TEST_CASE("hopper: what the driver refuses") {
  const Array<uint16_t> matrix(64 * 8);
  const auto refused = [&](const void* data, int64_t width, int64_t lines, int box_width) {
    return error_of([&] { cuda_emulator::tensor_map(data, width, lines, 1, box_width, 8); }).find("cuTensorMap") == 0;
  };
  CHECK(!refused(matrix.data(), 64, 8, 64));
  CHECK(refused(matrix.data() + 1, 56, 8, 64));  // not aligned
  CHECK(refused(matrix.data(), 60, 8, 64));      // lines of 120 bytes
  CHECK(refused(matrix.data(), 64, 0, 64));
  CHECK(refused(matrix.data(), 64, 9, 64));  // past the end
  CHECK(refused(matrix.data(), 64, 8, 128));
  const std::vector<uint16_t> host(512);
  CHECK(refused(host.data(), 64, 8, 64));
}
