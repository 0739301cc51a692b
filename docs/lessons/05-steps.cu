// Chapter 5: the steps of the library's matrix product beside a plain loop, and how often each reads a number.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/gemm_pipeline.cuh"
#include "tensor/cuda/gemm_steps.cuh"

using namespace switchyard::gpu;

// A step: its tile, what a thread computes of it, and how often a number is read for it.
template <class Step>
void compare(const char* name, GemmStep step, int down, int across, int shared_bytes) {
  const int M = 70, N = 50, K = 33;
  const std::vector<float> a = whole_numbers<float>(M * K, 1), b = whole_numbers<float>(K * N, 2);
  const OnDevice<float> da(a), db(b), c(M * N);
  gemm_step(step, false, false, M, N, K, da.data(), db.data(), false, c.data());
  const std::string wrong = difference(c.read(), plain_product(M, N, K, a, b, false), N);
  const double own = double(down + across) / (down * across);
  const double tile = shared_bytes ? double(Step::rows + Step::cols) / (Step::rows * Step::cols) : own;
  std::printf("%-10s %3d x %-3d   %d x %d  %11.4f  %11.2f  %12d   %s\n", name, Step::rows, Step::cols, down, across,
              tile, shared_bytes ? own : 0., shared_bytes, wrong.empty() ? "equal" : wrong.c_str());
}

// What a warp of Tiled and one of Registers write in one go where memory's lines run along k: the turns it takes.
void write(const char* name, int words_a_line, bool tiled) {
  std::vector<int> place;
  for (int lane = 0; lane < warp_size; ++lane)
    place.push_back(4 * (tiled ? lane * words_a_line : lane % 4 * 4 * words_a_line + lane / 4));
  std::printf("%-10s %9d words a line, in turns: %d\n", name, words_a_line, bank_turns(place, 4));
}

int main() {
  std::printf("                               reads for a multiply-add\n");
  std::printf("step       block       thread       memory       shared  shared bytes   result\n");
  compare<Naive>("naive", GemmStep::naive, 1, 1, 0);
  compare<Tiled>("tiled", GemmStep::tiled, Tiled::per_thread, 1, 8 * Tiled::depth * (Tiled::rows + 1));
  compare<Registers>("registers", GemmStep::registers, 8, 8, 8 * Registers::depth * Registers::padded);
  using Fast = Pipelined<FmaTile<128, true, false>>;
  compare<Fast>("pipelined", GemmStep::pipelined, Fast::own, Fast::own, Fast::shared_bytes);
  std::printf("\na warp writes to the tile\n");
  write("tiled", Tiled::rows, true), write("tiled", Tiled::rows + 1, true);
  write("registers", Registers::rows, false), write("registers", Registers::padded, false);
}
