// The learning-rate finder: one short training whose rate rises at each step, and what its losses say.
#pragma once
#include <atomic>

#include "train/run_folder.h"

namespace switchyard {

struct RateSearch {
  // The first rate and the last, 1e-12 to 100; between two steps it grows by the same factor.
  double from = 1e-5, to = 1;
  int64_t steps = 100;
};

struct RatePoint {
  double rate = 0;
  double loss = 0;    // of this step's batch, before the weights move; cross-entropy alone, nats per token
  double smooth = 0;  // mean of the losses so far, of which each weighs 0.9 times the next
};

struct RateFinding {
  std::vector<RatePoint> points;  // one a step; its losses are finite
  bool diverged = false;          // the loss became no number, or the smooth one four times its lowest
  // Of the smooth loss: the rate at its lowest, and at its steepest fall by the rate's logarithm before that. 0: no
  // such one, as the loss did not fall at all.
  double lowest = 0, steepest = 0;
  // A tenth of `lowest`: where the loss is lowest it is about to rise, so that rate is too high already (Howard and
  // Gugger 2020, "fastai", the finder's rule).
  double recommended() const { return lowest / 10; }
};

// Trains a model of `config` for search.steps steps with AdamW, from new weights, while the rate rises exponentially
// (Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, which raises it linearly). What
// `config` says of the schedule, the steps and the folder counts for nothing: no folder is left behind. Ends early if
// the loss diverges or `stop` becomes true. `each` is called after every step.
RateFinding find_rate(const RunConfig& config, const RateSearch& search, const std::atomic<bool>& stop,
                      const std::function<void(const RatePoint& point)>& each = {});

// What the points say; fills in all but them.
RateFinding judged(std::vector<RatePoint> points, bool diverged);

// The smooth loss over the rate's logarithm, in `width` columns and `height` lines, with the two axes. What is higher
// than the first loss by more than it falls below it is cut off.
std::string plot(const RateFinding& finding, int width, int height);

}  // namespace switchyard
