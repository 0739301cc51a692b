// Chapter 10: a save that is cut short at every place, and a run that is resumed.
#include <unistd.h>

#include "tensor/directory.h"
#include "train/trainer.h"

using namespace switchyard;
namespace fs = std::filesystem;

const fs::path place = fs::temp_directory_path() / fmt::format("switchyard-lesson-{}", getpid());
constexpr const char* names[] = {"weights", "moments"};

// Saves generation 2 over 1 and stops after `changes` changes of the folder; an exception stands for the kill.
const char* save(int changes, bool together) try {
  fs::create_directories(place);
  for (const char* name : names) write_file(place / name, "1");
  const auto change = [&] {
    if (changes-- == 0) throw "cut";
  };
  if (together) {
    DirectoryUpdate update(place, change);
    for (const char* name : names) write_file(update.file(name), "2"), change();
    update.commit();
  } else {
    for (const char* name : names) change(), write_file(place / name, "2");
  }
  return "whole";
} catch (const char* cut) {
  return cut;
}

void kill(bool together) {
  fmt::print("{}\n", together ? "together" : "one by one");
  for (int changes = 0;; ++changes) {
    const std::string end = save(changes, together);
    finish_update(place);  // what every reader does first
    fmt::print("  {:<5} at {}: weights {}, moments {}\n", end, changes, read_file(place / "weights"),
               read_file(place / "moments"));
    fs::remove_all(place);
    if (end == "whole") break;
  }
}

// Trains up to `steps` in `dir` and returns the bytes of the weights.
std::string train(const fs::path& dir, int64_t steps, bool resume) {
  const ModelConfig model{.context = 32, .layers = 1, .width = 16, .heads = 2, .kv_heads = 2, .ffn = 16, .experts = 4};
  RunConfig run{.source = {}, .model = model, .train = {}, .out = dir};
  run.train = {.tokenizer = TokenizerKind::bytes,
               .corpus_bytes = 20'000,
               .steps = steps,
               .batch = 2,
               .warmup = 0,
               .schedule = Schedule::constant,
               .eval_every = 1000,
               .eval_tokens = 100};
  run.train.sample_every = run.train.checkpoint_every = 1000;
  Trainer trainer(run, resume);
  Report report(dir, trainer.steps_done(), steps, 1, 0, true);
  const std::atomic<bool> stop{false};
  trainer.run(stop, report);
  return read_file(dir / "model.safetensors");
}

int main() {
  kill(false), kill(true);
  const std::string through = train(place / "a", 20, false);
  const std::string half = train(place / "b", 10, false), rest = train(place / "b", 20, true);
  fmt::print("20 steps and 10 + 10 steps: {} bytes, {} differ; after 10 steps {}\n", through.size(),
             through == rest ? 0 : 1, through == half ? "the same" : "others");
  fs::remove_all(place);
}
