// Whole training steps and generation on the GPU.
#pragma once
#include "moe/transformer.h"
#include "tests/bench/device_bench.h"
#include "train/optimizer.h"

namespace switchyard::bench {

// 12 layers of width 768 with 8 experts of 2048, two for each token: 0.56 billion parameters, a third at work.
ModelConfig step_model(const Sizes& sizes);
// Sequences of a step that the device's memory has room for.
int64_t step_batch(const Sizes& sizes);

// A model on the device and what trains it on random tokens.
class Training {
 public:
  Training(const ModelConfig& model, int64_t B, Dtype dtype);
  // Milliseconds of a step: forward, backward, clipping and AdamW. The host waits once, after `steps` of them.
  double sample(int steps);
  double host_milliseconds() const { return host_; }  // of these, those that the host needed to queue a step
  double loss() const { return loss_.item(); }        // of the last step
  double tokens() const { return double(B_) * model_.config().context; }

 private:
  void step();

  int64_t B_;
  Transformer model_;
  Optimizer optimizer_;
  Random random_{{1, 1}};
  Tensor loss_;
  double host_ = 0;
};

// Tokens a second that B sequences together gain, one at a time, after a prompt that fills half of the context.
double decode_rate(Transformer& model, int64_t B, int tokens);

}  // namespace switchyard::bench
