// One training step on random tokens, as the benchmarks time it.
#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

#include "tensor/random.h"
#include "tests/bench/timed_kernels.h"
#include "train/optimizer.h"
#include "train/presets.h"

namespace switchyard::bench {

// (B, context)
inline Tensor random_tokens(const ModelConfig& model, int64_t B, Random& random) {
  Tensor tokens({B, model.context}, Dtype::i32);
  for (int64_t i = 0; i < tokens.count(); ++i)
    tokens.data<int32_t>()[i] = static_cast<int32_t>(random.below(model.vocab));
  return tokens;
}

// When the phases of a step began, and when its gradient reached each node of the history, the youngest first.
struct StepTrace {
  struct Reached {
    uint64_t id;
    std::string_view op;
    const Node* parameter;  // the first input that the optimizer moves, or null
    bool scalar;            // whether the node's value is one number
    double time;
  };
  double forward = 0, backward = 0, optimizer = 0;  // now()
  std::vector<Reached> nodes;

  void reach(const Node& node) {
    const auto moved = [](const Var& v) { return v.requires_grad() && v.node()->op == std::string_view("leaf"); };
    const auto found = std::find_if(node.inputs.begin(), node.inputs.end(), moved);
    const Node* parameter = found == node.inputs.end() ? nullptr : found->node().get();
    nodes.push_back({node.id, node.op, parameter, node.value.count() == 1, now()});
  }
};

// Forward, backward, clipping and AdamW. `trace`, if any, is filled in.
inline void training_step(Transformer& model, Optimizer& optimizer, const TrainConfig& c, Random& random,
                          StepTrace* trace = nullptr) {
  Pass pass{.training = true, .seed = 1};
  const Tensor tokens = random_tokens(model.config(), c.batch, random);
  const Tensor targets = random_tokens(model.config(), c.batch, random);
  if (trace) trace->forward = now();
  const ForwardResult f = model(tokens, {.pass = &pass});
  Var loss = mean(cross_entropy(f.logits, targets));
  for (const AuxTerm& term : f.aux) loss = add(loss, scale(term.value, term.coefficient));
  if (trace) trace->backward = now();
  if (trace)
    backward(loss, [&](const Node& node) { trace->reach(node); });
  else
    backward(loss);
  if (trace) trace->optimizer = now();
  optimizer.step(c.rate, 1);
}

}  // namespace switchyard::bench
