// Chapter 26: which tile of the grouped product works on which expert, and how many tiles have nothing to do.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/gemm_product.cuh"

using namespace switchyard::gpu;

// What the block of each tile finds: an expert, the tile's first slot, and how many it has.
__global__ void find_tiles(GroupedRows<float> tiles, int rows, int32_t* expert, int32_t* first, int32_t* slots) {
  const int tile = blockIdx.x, e = tiles.find_expert(tile, rows), begin = tiles.offset[e];
  if (threadIdx.x != 0) return;
  expert[tile] = e;
  first[tile] = begin + (tile - begin / rows - e) * rows;
  slots[tile] = e < tiles.E ? max(min(rows, tiles.offset[e + 1] - first[tile]), 0) : 0;
}

int six_tokens() {
  const OnDevice<float> x(48), w(96);
  const OnDevice<int32_t> offset({0, 5, 9, 12, 12}), row({0, 1, 3, 4, 5, 0, 2, 4, 5, 1, 2, 3}), expert(8), first(8),
      slots(8);
  const GroupedRows<float> tiles{12, 4, 4, 6, offset.data(), row.data(), x.data(), w.data(), true, nullptr, true};
  const unsigned blocks = unsigned(tiles.tiles(4, 8));
  launch(find_tiles, blocks, 32, 0, stream(), tiles, 4, expert.data(), first.data(), slots.data());
  for (unsigned i = 0; i < blocks; ++i) {
    std::printf("tile %u  expert %d  ", i, expert.read()[i]);  // 4: none of them
    if (const int n = slots.read()[i])
      std::printf("slots %2d to %2d\n", first.read()[i], first.read()[i] + n - 1);
    else
      std::printf("nothing to do\n");
  }
  return 0;
}

// Rows of tiles of 128 slots for 16,384 slots: launched, with work, and how many padding to the busiest would launch.
int idle() {
  std::printf("experts  skew  launched  with work  idle  padded\n");
  for (int E : {8, 64, 256})
    for (int skew : {0, 1, 2, 4}) {
      double sum = 0, share = 0;
      for (int e = 0; e < E; ++e) sum += std::exp(-double(skew) * e / (E - 1));
      int work = 0, most = 0;
      for (int e = 0, begin = 0, end; e < E; ++e, begin = end) {
        share += std::exp(-double(skew) * e / (E - 1)) / sum, end = int(share * 16384 + 0.5);
        const int mine = tiles_of(end - begin, 128);
        work += mine, most = mine > most ? mine : most;
      }
      const int launched = 16384 / 128 + E + 1;
      std::printf("%7d %5d %9d %10d %5d %7d\n", E, skew, launched, work, launched - work, E * most);
    }
  return 0;
}

int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", six_tokens}, {"--idle", idle}}); }
