// A training step looked at from within: which tensor went wrong first, and what made the loss what it is.
#pragma once
#include <string>
#include <vector>

#include "train/trainer.h"

namespace switchyard {

struct Replay {
  int64_t step = 0;          // the one after the checkpoint: what is replayed
  double loss = 0;           // mean over the passes, as the run had it, to the bit
  double gradient_norm = 0;  // likewise
  // The first tensor that holds a number which is not finite, and where: among the weights, else in the forward pass,
  // else among the gradients; "": none.
  std::string culprit;
  struct Share {
    std::string parameter;
    double norm, largest_weight;  // of its gradient; and its largest weight's absolute value
  };
  std::vector<Share> shares;  // by falling norm
  struct Sequence {
    double loss;       // nats per token
    std::string text;  // its tokens
  };
  std::vector<Sequence> sequences;  // of all passes, by falling loss
};

// Computes the trainer's next step without moving anything.
Replay replay(Trainer& trainer);

}  // namespace switchyard
