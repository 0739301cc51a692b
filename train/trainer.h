// The training loop.
#pragma once
#include <atomic>

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

  // What one backward pass of the run begins with.
  struct Forward {
    ForwardResult result;
    Var loss, total;  // cross-entropy alone, and with the weighted auxiliary terms
  };
  // Of B sequences; pass 0 is the first of the run, and a step has `accumulate` of them.
  Forward forward(int64_t pass, int64_t B);
  // On text that is not trained on; about so many tokens.
  Evaluation evaluate(int64_t tokens);
  // A text of the model's own, of at most so many tokens.
  std::string sample(int64_t tokens);

  Transformer& model() { return model_; }
  const Dataset& data() const { return data_; }
  const RunConfig& config() const { return config_; }
  int64_t steps_done() const { return optimizer_.steps(); }
  Optimizer& optimizer() { return optimizer_; }

 private:
  StepNumbers step(Report& report);
  // Whether a step of which `wrong` is said may move the weights, as --on-spike says; a snapshot is left either way.
  bool accept_spike(const std::string& wrong, const StepNumbers& numbers, Report& report);

  RunConfig config_;
  RunFolder folder_;
  Dataset data_;
  Transformer model_;
  Optimizer optimizer_;
  History history_;
  int64_t last_spike_ = -1;
  int spikes_ = 0;  // one after the other, the last at last_spike_
};

}  // namespace switchyard
