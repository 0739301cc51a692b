// The training loop.
#pragma once
#include <atomic>

#include "infer/generate.h"
#include "train/evaluate.h"
#include "train/report.h"
#include "train/run_folder.h"

namespace switchyard {

// Trains a model and keeps its checkpoints in the run's folder. Every number of a step depends on the configuration and
// the step alone, so a resumed run continues to the same bits.
class Trainer {
 public:
  // Starts a run, or with `resume` goes on from the folder's last checkpoint. Error: the folder holds a run already
  // (without resume) or none (with it).
  Trainer(RunConfig config, bool resume);

  // Trains until the last step or until `stop` becomes true; then writes a checkpoint. Returns the last evaluation.
  Evaluation run(const std::atomic<bool>& stop, Report& report);

  Transformer& model() { return model_; }
  const Dataset& data() const { return data_; }
  const RunConfig& config() const { return config_; }
  int64_t steps_done() const { return optimizer_.steps(); }

 private:
  StepNumbers step();
  Evaluation evaluate(bool last);
  std::string sample();

  RunConfig config_;
  RunFolder folder_;
  Dataset data_;
  Transformer model_;
  AdamW optimizer_;
};

}  // namespace switchyard
