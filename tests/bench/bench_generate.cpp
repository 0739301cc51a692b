// Times generation by the most probable token after a prompt of made-up tokens. Prints one line.
//   ./run bench generate [MODEL] [--threads N] [--prompt N] [--generate N] [--save DIR] [--tokens]
// MODEL: a preset or a shape of below with random weights, or the directory of a checkpoint. --save writes the model
// there, so that another program can be timed on the same weights; --tokens adds a line with the tokens chosen.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "infer/flags.h"
#include "infer/generate.h"
#include "moe/checkpoint.h"
#include "moe/size.h"
#include "train/presets.h"

using namespace switchyard;

namespace {

struct NamedShape {
  std::string_view name;
  ModelConfig model;
};
constexpr NamedShape shapes[] = {
    {"stories15m",  // llama2.c's
     {.vocab = 32000,
      .layers = 6,
      .width = 288,
      .heads = 6,
      .kv_heads = 6,
      .ffn = 768,
      .tied = true,
      .experts = 1,
      .top_k = 1,
      .gate_norm = GateNorm::none}},
    {"moe-big",  // larger than any cache: what counts is how fast memory is read
     {.vocab = 32000, .layers = 8, .width = 512, .heads = 8, .kv_heads = 8, .ffn = 1408, .experts = 8, .top_k = 2}},
};

struct Options {
  std::string model = "moe-step", save;
  int prompt = 256, generate = 255;
  bool tokens = false;
};

Options read_options(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const auto flag = [&](const char* name) { return i + 1 < argc && !std::strcmp(argv[i], name); };
    if (flag("--threads"))
      set_threads(std::atoi(argv[++i]));
    else if (flag("--prompt"))
      o.prompt = std::atoi(argv[++i]);
    else if (flag("--generate"))
      o.generate = std::atoi(argv[++i]);
    else if (flag("--save"))
      o.save = argv[++i];
    else if (!std::strcmp(argv[i], "--tokens"))
      o.tokens = true;
    else
      o.model = argv[i];
  }
  check(o.prompt >= 1 && o.generate >= 1, "--prompt {} --generate {}: both must be 1 or more", o.prompt, o.generate);
  return o;
}

Transformer make_model(const Options& o) {
  const bool stored = std::filesystem::exists(std::filesystem::path(o.model) / "config.json");
  const auto shape = std::find_if(std::begin(shapes), std::end(shapes), [&](auto& s) { return s.name == o.model; });
  ModelConfig config = stored                      ? load_config(o.model)
                       : shape != std::end(shapes) ? shape->model
                                                   : find_preset(o.model).model;
  config.context = std::max(config.context, o.prompt + o.generate);
  Transformer model(config, 1);
  if (stored) load_weights(o.model, model);
  return model;
}

struct Times {
  double prompt = 0, generate = 0;  // seconds
  std::vector<int32_t> tokens;      // chosen; the first follows from the prompt
};

Times generate(Transformer& model, int prompt, int steps, int capacity) {
  using Clock = std::chrono::steady_clock;
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < prompt; ++i) ids.push_back(static_cast<int32_t>((i * 7919 + 1) % model.config().vocab));
  Decoder decoder(model, capacity);
  Times times;
  const auto take = [&](std::span<const float> logits) {
    times.tokens.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  };
  const Clock::time_point start = Clock::now();
  take(decoder.feed(ids));
  const Clock::time_point first = Clock::now();
  for (int i = 0; i < steps; ++i) take(decoder.feed({&times.tokens.back(), 1}));
  times.prompt = std::chrono::duration<double>(first - start).count();
  times.generate = std::chrono::duration<double>(Clock::now() - first).count();
  return times;
}

int run(int argc, char** argv) {
  const Options o = read_options(argc, argv);
  Transformer model = make_model(o);
  if (!o.save.empty()) save_model(o.save, model);
  const int capacity = o.prompt + o.generate;
  generate(model, o.prompt, 8, capacity);  // wakes the threads and fills the pools of memory
  const Times times = generate(model, o.prompt, o.generate, capacity);
  // A step reads every active weight once, but of the embedding, where that is a table of its own, one row.
  const ParameterCount n = count_parameters(model.config());
  const double bytes = 4.0 * double(n.active - (model.config().tied ? 0 : n.embedding));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "switchyard {} {} threads {} | prompt {:.0f} tok/s | generation {:.1f} tok/s | {:.1f} MB a token, "
      "{:.1f} GB/s | rss {} MB\n",
      o.model, threads(), cpu_isa(), o.prompt / times.prompt, o.generate / times.generate, bytes / 1e6,
      bytes * o.generate / times.generate / 1e9, usage.ru_maxrss >> 10);
  if (o.tokens) fmt::print("tokens {}\n", fmt::join(times.tokens, " "));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, run); }
