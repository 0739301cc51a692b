// Chapter 9: one batch learnt by heart. --init: from four deviations of the initial weights.
#include <cmath>

#include "docs/lessons/six_tokens.h"
#include "train/optimizer.h"

using namespace switchyard;

constexpr ModelConfig tiny{.vocab = 64,
                           .context = 16,
                           .layers = 2,
                           .width = 32,
                           .heads = 4,
                           .kv_heads = 2,
                           .ffn = 48,
                           .experts = 4,
                           .top_k = 2};
// One batch of random tokens, learnt by heart; the loss every 10 steps.
void learn(double deviation) {
  ModelConfig c = tiny;
  c.init = deviation;
  Transformer model(c, 1, Dtype::f64);
  Optimizer optimizer(model, {.weight_decay = 0});
  Random random{{1, 1}};
  std::vector<int32_t> token(33);
  for (int32_t& t : token) t = int32_t(random.below(c.vocab));
  const std::span all(token);
  const Tensor tokens = Tensor::from(all.first(32), {2, 16}), targets = Tensor::from(all.last(32), {2, 16});
  fmt::print("init {:<5}", deviation);
  for (int step = 0; step <= 60; ++step) {
    const Var loss = mean(cross_entropy(model(tokens).logits, targets));
    if (step % 10 == 0) fmt::print(" {:7.3f}", loss.value().item());
    backward(loss);
    optimizer.step(0.01, 1);
  }
  fmt::print("\n");
}
void one() { fmt::print("ln 64 = {:.3f}; loss of one batch every 10 steps\n", std::log(64.0)), learn(0.02); }
void inits() { learn(0.5), learn(0.1), learn(0.02), learn(0); }
int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", one}, {"--init", inits}}); }
