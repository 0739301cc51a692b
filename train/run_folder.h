// The folder of a run: what is in it, and who may write there.
#pragma once
#include <filesystem>
#include <functional>

#include "moe/transformer.h"
#include "nn/tokenizer.h"
#include "tensor/directory.h"
#include "train/data.h"
#include "train/gradient_noise.h"
#include "train/optimizer.h"
#include "train/spikes.h"

namespace switchyard {

// Who teaches a run's model: a model's folder, and the share of the loss that its answers have (train/distill.h).
struct Teacher {
  std::filesystem::path dir;
  double share = 0.25;  // Fedus et al. 2021, section 4.2; the rest is the text's
};

struct RunConfig {
  Source source;
  ModelConfig model;
  TrainConfig train;
  std::filesystem::path out;  // the run's folder; made if missing
  Device device = Device::cpu;
  std::filesystem::path start;  // a model's folder: a new run begins with its weights
  std::optional<Teacher> teacher;
  std::vector<std::string> freeze = {};  // parts that are not trained: train/freeze.h
  // One more term of the loss, such as a teacher's, from a batch and its logits.
  std::function<AuxTerm(const Batch& batch, const Var& logits)> beside;
};

// Error: settings that a new run cannot train with, such as adapters of new weights.
void check_trainable(const RunConfig& config);

// The configuration of the run in `dir`, from its last whole checkpoint. Error if there is none.
RunConfig load_run(const std::filesystem::path& dir);

// What a run remembers of its steps, beside what the optimizer does.
struct History {
  SpikeWatch losses;
  GradientNoise noise = {};
};

// Error if the file is there and a part of a run or a model: what a command writes must not take its place.
void check_no_part_of_run(const std::filesystem::path& file);

// A run's folder while it trains: model.safetensors, config.json, tokenizer.json, optimizer.safetensors, train.json
// (the training configuration, the step, and the other files' checksums) and, by Report, metrics.jsonl. The checkpoint
// before the last is kept in previous/. Meanwhile no other process can train there.
class RunFolder {
 public:
  // Makes `dir` if it is missing. With resume, a last checkpoint that is damaged gives way to the one before. Errors:
  // it holds a run or a model already (without resume), or no run that is whole (with it); another process trains
  // there.
  RunFolder(const std::filesystem::path& dir, bool resume);
  // What has to be said of a checkpoint that was damaged; "": nothing.
  const std::string& complaint() const { return complaint_; }

  bool has_checkpoint() const;
  // Sets what save() has been given.
  void load(Transformer& model, Optimizer& optimizer, History& history);
  // Replaces the checkpoint as a whole: after a kill at any moment, the old one or the new one is there.
  void save(const RunConfig& config, Transformer& model, const Tokenizer& tokenizer, const Optimizer& optimizer,
            const History& history);
  // The same into a folder within, which is a run's folder too and has the same tokens: dir / name, replaced.
  void save_snapshot(const std::string& name, const RunConfig& config, Transformer& model, const Tokenizer& tokenizer,
                     const Optimizer& optimizer, const History& history) const;

 private:
  std::filesystem::path dir_;
  DirectoryLock lock_;
  std::string complaint_;
};

}  // namespace switchyard
