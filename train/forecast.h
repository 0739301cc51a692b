// What a run will cost, said before its first step.
#pragma once
#include "train/trainer.h"

namespace switchyard {

struct Forecast {
  int64_t memory = 0;         // bytes at the peak: the process's, and on a GPU the device's
  int64_t available = -1;     // bytes that there are, the process's own included; -1: the system does not say
  double seconds = 0;         // of the steps that are left, with their evaluations, samples and checkpoints
  double seconds_a_step = 0;  // of training alone
};

// Whether weights, gradients and moments can fit, before any of them is made: 16 bytes a parameter in f32. Error: how
// much is missing, and the nearest number of experts or layers that does fit. `available`: bytes; -1: not known,
// nothing is refused.
// `beside`: bytes that a trained weight takes beside its own four.
void check_state_fits(const ModelConfig& model, int64_t available, int64_t beside = 12);
void check_state_fits(const ModelConfig& model, Device device, int64_t beside = 12);

// Whether a pass of a whole batch can fit, from passes of one and of two sequences. Error: the largest batch that does.
void check_batch_fits(Trainer& trainer, int64_t available);

// Computes a few passes of the run and throws them away: those of check_batch_fits(), then whole batches, part of an
// evaluation and of a sample, with a clock. The run itself is not changed by it, not in a bit.
Forecast forecast(Trainer& trainer);

// "cost:  0.21 GB of memory at the peak, of 23.4; about 1:35 for 1000 steps (90 ms each)"
std::string text(const Forecast& forecast, int64_t steps);

}  // namespace switchyard
