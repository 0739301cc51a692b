// Chapter 10: a floor and a model that nears it. --leak: the targets slip into the input.
#include "docs/lessons/six_tokens.h"
#include "train/trainer.h"

using namespace switchyard;

struct Text {
  std::vector<int32_t> letter;
  double nats = 0;  // what it costs at least
};
//@begin chain
// Letters 0 to 3: the next one follows with 70 percent, each other with 10.
Text write(Random& random, size_t n) {
  Text text{{int32_t(random.below(4))}};
  while (text.letter.size() < n) {
    const auto draw = random.below(10);
    const int64_t ahead = draw < 7 ? 1 : draw < 9 ? draw - 5 : 4;
    text.letter.push_back(int32_t((text.letter.back() + ahead) % 4));
    text.nats -= std::log(ahead == 1 ? 0.7 : 0.1);
  }
  return text;
}
//@end chain
// Trains on fresh text and prints, every 30 steps, how far above the floor 4000 letters of other text come out.
void near(uint64_t seed, bool leak) {
  Transformer model({.vocab = 4,
                     .context = 16,
                     .layers = 1,
                     .width = 16,
                     .heads = 2,
                     .kv_heads = 2,
                     .ffn = 32,
                     .experts = 1,
                     .top_k = 1},
                    seed, Dtype::f64);
  Optimizer optimizer(model, {});
  const auto loss_of = [&](const Text& text, int64_t B) {  // 16 letters and the next, B times
    const std::span all(text.letter);
    const Tensor next = Tensor::from(all.subspan(1, size_t(16 * B)), {B, 16});
    const Tensor seen = leak ? next : Tensor::from(all.first(size_t(16 * B)), {B, 16});
    return mean(cross_entropy(model(seen).logits, next));
  };
  Random training{{seed, 1}}, testing{{seed, 2}};
  const Text test = write(testing, 4001);
  fmt::print("seed {} floor {:.3f}  above it", seed, test.nats / 4000);
  for (int step = 0; step <= 180; ++step) {
    if (step % 30 == 0) fmt::print(" {:+.3f}", loss_of(test, 250).value().item() - test.nats / 4000);
    backward(loss_of(write(training, 129), 8));
    optimizer.step(step < 20 ? 0.01 * (step + 1) / 20 : 0.01, 1);
  }
  fmt::print("\n");
}
void learn() {
  double w[2] = {1, 1}, m[2] = {}, v[2] = {}, gradient[2] = {3, 0.003}, scale = 1;
  kernels<double>(Device::cpu)
      .adamw(2,
             {.rate = 0.01,
              .beta1 = 0.9,
              .beta2 = 0.95,
              .epsilon = 1e-8,
              .decay = 0.1,
              .correction1 = 0.1,
              .correction2 = 0.05,
              .gradient_scale = &scale},
             gradient, w, m, v);
  fmt::print("AdamW: gradient 3 takes 1 to {:.4f}, gradient 0.003 to {:.4f}\n", w[0], w[1]);
  const Corpus corpus;
  const Document document = corpus.document(4);
  std::string other = document.text;
  other[other.size() / 2] ^= 1;
  fmt::print("a document of {} bytes: {:.2f} bits; {} derivation, of it with a wrong byte {}\n", document.text.size(),
             document.bits, corpus.score(document.text).derivations, corpus.score(other).derivations);
  near(1, false), near(2, false), near(3, false);
}
void leak() { near(1, true), near(2, true), near(3, true); }
int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", learn}, {"--leak", leak}}); }
