// Moves the parameters. Each belongs to a group, which says by which rule it moves, how fast, and whether it decays.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "moe/transformer.h"
#include "tensor/safetensors.h"
#include "train/config.h"

namespace switchyard {

// A training that came to an end of its own: a loss or a gradient that is no finite number, or far from the others.
struct Diverged : Error {
  using Error::Error;
};

// How a parameter moves.
struct Group {
  bool muon = false;  // by train/muon.h, else by train/adamw.h
  double rate = 1;    // times the learning rate
  double decay = 0;
};
// By its name (nn/module.h) and shape: matrices of the layers go by the rule asked for, all else by AdamW; the router
// has
// --router-rate; what decays is --decay's choice, and norms and biases only do with "all".
Group group_of(const std::string& name, const Shape& shape, const TrainConfig& config);

class Optimizer {
 public:
  // The parameters that `model` lists and that want a gradient; the model must outlive this.
  Optimizer(Transformer& model, const TrainConfig& config);

  // A step is measure(), then update() or skip(). measure(): the norm of the gradients accumulated over `passes`
  // backward passes, of which it takes the mean. update(): clips them and moves the weights. skip(): the step counts,
  // and changes nothing. Both clear the gradients. Without muon none waits for the device.
  void measure(int64_t passes);
  void update(double rate);
  void skip();
  void step(double rate, int64_t passes) {
    measure(passes);
    update(rate);
  }
  // Of the averaged gradients last measured, before clipping; waits for it. If it is no finite number, update() changes
  // nothing.
  double gradient_norm() const { return scale_.values()[0]; }
  int64_t steps() const { return steps_; }      // those skipped are counted
  int64_t updates() const { return updates_; }  // and here they are not

  // Calls f while the model has the mean of its weights over the steps (--average) in place of the last ones. Error
  // without --average.
  void with_average(const std::function<void()>& f);

  // The moments by name, and back: they are half of what a resumed run needs.
  std::vector<NamedTensor> state() const;
  void restore(const SafetensorsFile& file, int64_t steps, int64_t updates);

 private:
  struct Slot {
    std::string name;
    Var parameter;
    Group group;
    Tensor mean, mean_square;  // mean_square: AdamW's alone
    Tensor average;            // with --average
  };
  void average(Slot& slot) const;

  TrainConfig config_;
  std::vector<Slot> slots_;
  Tensor squares_;  // f64 (slots): of each gradient
  Tensor scale_;    // f64 (2): the norm, and what gradients are multiplied with
  int64_t steps_ = 0, updates_ = 0;
};

// The learning rate of step 0, 1, ..: linear warm-up, then cosine (Loshchilov and Hutter 2017), or stable and a
// straight decay (warm-up-stable-decay; Hu et al. 2024, "MiniCPM"), or constant.
double learning_rate(const TrainConfig& config, int64_t step);

}  // namespace switchyard
