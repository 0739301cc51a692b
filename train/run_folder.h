// The folder of a run: what is in it, and who may write there.
#pragma once
#include <filesystem>
#include <functional>

#include "moe/transformer.h"
#include "nn/tokenizer.h"
#include "tensor/directory.h"
#include "train/adamw.h"
#include "train/data.h"

namespace switchyard {

struct RunConfig {
  Source source;
  ModelConfig model;
  TrainConfig train;
  std::filesystem::path out;  // the run's folder; made if missing
  Device device = Device::cpu;
  std::filesystem::path start;  // a model's folder: a new run begins with its weights
  // One more term of the loss, such as a teacher's, from a batch and its logits.
  std::function<AuxTerm(const Batch& batch, const Var& logits)> beside;
};

// The configuration of the run in `dir`, from its config.json and train.json. Error if there is none.
RunConfig load_run(const std::filesystem::path& dir);

// A run's folder while it trains: model.safetensors, config.json, tokenizer.json, optimizer.safetensors, train.json
// (the training configuration and the step) and, by Report, metrics.jsonl. Meanwhile no other process can train there.
class RunFolder {
 public:
  // Makes `dir` if it is missing. Errors: it holds a run already (without resume) or none (with it); another process
  // trains there.
  RunFolder(const std::filesystem::path& dir, bool resume);

  // The last checkpoint: sets what save() has been given.
  void load(Transformer& model, AdamW& optimizer) const;
  // Replaces the checkpoint as a whole: after a kill at any moment, the old one or the new one is there.
  void save(const RunConfig& config, Transformer& model, const Tokenizer& tokenizer, const AdamW& optimizer);

 private:
  std::filesystem::path dir_;
  DirectoryLock lock_;
};

}  // namespace switchyard
