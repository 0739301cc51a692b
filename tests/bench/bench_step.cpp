// Times whole training steps of a preset on random tokens: forward, backward, clipping and AdamW. Prints one line.
//   ./run bench step [PRESET] [--compute f32|bf16] [--threads N] [--steps N] [--dense-twin]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "infer/flags.h"
#include "tests/bench/training_step.h"

using namespace switchyard;

namespace {

double step(Transformer& model, Optimizer& optimizer, const TrainConfig& c, Random& random) {
  const auto start = std::chrono::steady_clock::now();
  bench::training_step(model, optimizer, c, random);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Compute parse_compute(std::string_view text) {
  for (Compute compute : {Compute::f32, Compute::bf16})
    if (text == name(compute)) return compute;
  fail("--compute {}: must be f32 or bf16", text);
}

int run(int argc, char** argv) {
  Preset preset = find_preset("moe-step");
  int steps = 9;
  Compute compute = Compute::f32;
  for (int i = 1; i < argc; ++i) {
    const bool value = i + 1 < argc;
    if (value && !std::strcmp(argv[i], "--threads"))
      set_threads(std::atoi(argv[++i]));
    else if (value && !std::strcmp(argv[i], "--steps"))
      steps = std::atoi(argv[++i]);
    else if (value && !std::strcmp(argv[i], "--compute"))
      compute = parse_compute(argv[++i]);
    else if (!std::strcmp(argv[i], "--dense-twin"))
      preset.model = dense_twin(preset.model);
    else
      preset = find_preset(argv[i]);
  }
  check(steps >= 1, "--steps {}: must be 1 or more", steps);
  preset.model.dropout = 0;  // those that it is compared with have none
  Transformer model(preset.model, 0, dtype_of(compute));
  Optimizer optimizer(model, preset.train);
  Random random{{1, 1}};
  for (int i = 0; i < 2; ++i) step(model, optimizer, preset.train, random);
  std::vector<double> seconds;
  for (int i = 0; i < steps; ++i) seconds.push_back(step(model, optimizer, preset.train, random));
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double tokens = double(preset.train.batch) * preset.model.context;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "switchyard {} {} {} threads {} | step {:.1f} ms (min {:.1f}) | {:.0f} tok/s | {:.1f} GFLOP/s | rss {} MB\n",
      preset.name, name(compute), threads(), cpu_isa(), median * 1e3, seconds[0] * 1e3, tokens / median,
      3 * forward_flops_per_token(preset.model) * tokens / median / 1e9, usage.ru_maxrss >> 10);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, run); }
