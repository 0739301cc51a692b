// Chapter 24: which lane holds what for one instruction of the tensor cores, and in how many turns tiles are read.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/gemm_pipeline.cuh"

using namespace switchyard;
using namespace switchyard::gpu;

// What each lane holds of a matrix whose elements are their own place, 16 row + column, and of a result.
__global__ void layout_kernel(uint32_t* held, float* result) {
  alignas(16) __shared__ uint16_t place[16][16];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += warp_size) place[i / 16][i % 16] = uint16_t(i);
  __syncwarp();
  uint32_t r[4];
  load_matrices<false>(r, &place[lane % 16][lane / 16 * 8]);
  for (int i = 0; i < 4; ++i) held[4 * lane + i] = r[i];
  // a: its row in column 0, 1 in column 1. b: 16 in row 0, its column in row 1. So d is 16 row + column.
  const uint32_t a[4] = {pack_bf16(lane / 4, 1), pack_bf16(lane / 4 + 8, 1), 0, 0}, b[2] = {pack_bf16(16, lane / 4), 0};
  const uint32_t zero[4] = {};
  float d[4] = {};
  mma_bf16(d, lane % 4 == 0 ? a : zero, {lane % 4 == 0 ? b[0] : 0, 0});
  for (int i = 0; i < 4; ++i) result[4 * lane + i] = d[i];
}

int layout() {
  const OnDevice<uint32_t> held(128);
  const OnDevice<float> result(128);
  launch(layout_kernel, 1, warp_size, 0, stream(), held.data(), result.data());
  const std::vector<uint32_t> a = held.read();
  const std::vector<float> d = result.read();
  std::printf("lane a[0]        a[1]        a[2]        a[3]         d[0]  d[1]  d[2]  d[3]\n");
  for (const int lane : {0, 1, 4, 5, 31}) {
    std::printf("%4d", lane);
    for (int i = 0; i < 4; ++i) {
      const uint32_t low = a[4 * lane + i] & 0xffff, high = a[4 * lane + i] >> 16;
      char both[20];
      std::snprintf(both, sizeof both, "%u,%u %u,%u", low / 16, low % 16, high / 16, high % 16);
      std::printf(" %-11s", both);
    }
    for (int i = 0; i < 4; ++i) std::printf("  %d,%d", int(d[4 * lane + i]) / 16, int(d[4 * lane + i]) % 16);
    std::printf("\n");
  }
  return 0;
}

// Where a warp reads and writes a tile of lines that are 64 elements long: what its lanes give to load_matrices, and
// what they copy.
using Shared = SharedTile<bf16, 64, 64, true>;
__global__ void places_kernel(bool permuted, int* read, int* written) {
  const int lane = threadIdx.x;
  const auto place = [=](int line, int chunk) { return permuted ? Shared::place(line, chunk) : 64 * line + 8 * chunk; };
  read[lane] = int(sizeof(bf16)) * place(lane % 16, lane / 16);
  written[lane] = int(sizeof(bf16)) * place(lane / 8, lane % 8);
}
void turns(bool permuted) {
  const OnDevice<int> read(warp_size), written(warp_size);
  launch(places_kernel, 1, warp_size, 0, stream(), permuted, read.data(), written.data());
  std::printf("%-18s %7d %9d\n", permuted ? "chunks permuted" : "lines as they are", bank_turns(read.read(), 16),
              bank_turns(written.read(), 16));
}

// For each multiply-add, in bytes: what a block reads, what 132 blocks in columns of 8 tiles read together, and what a
// warp reads from shared memory.
double bytes(double rows, double cols) { return 2 * (rows + cols) / (rows * cols); }
template <class Tile>
void tile_row(int warp_rows, int warp_cols) {
  std::printf("%3d x %-3d  %d x %d   %7.4f  %10.4f  %7.4f  %12d\n", Tile::rows, Tile::cols, warp_rows, warp_cols,
              bytes(Tile::rows, Tile::cols), bytes(8 * Tile::rows, 132 / 8. * Tile::cols), bytes(warp_rows, warp_cols),
              Pipelined<Tile>::shared_bytes);
}

int main() {
  layout();
  std::printf("\nturns of a warp       read   written\n");
  turns(false), turns(true);
  std::printf("\n                   bytes for a multiply-add\n");
  std::printf("block      a warp     memory  132 blocks   shared  shared bytes\n");
  tile_row<MmaTile<128, 256, 64, 64, true, true>>(64, 64);
  tile_row<MmaTile<128, 128, 64, 32, true, true>>(64, 32);
  tile_row<MmaTile<64, 64, 32, 32, true, true>>(32, 32);
}
