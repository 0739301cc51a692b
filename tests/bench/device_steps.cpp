#include "tests/bench/device_steps.h"

#include <chrono>

#include "infer/kv_cache.h"

namespace switchyard::bench {
namespace {

Tensor random_tokens(int64_t B, int64_t T, int vocab, Random& random) {
  Tensor tokens({B, T}, Dtype::i32);
  for (int64_t i = 0; i < tokens.count(); ++i) tokens.data<int32_t>()[i] = static_cast<int32_t>(random.below(vocab));
  return tokens;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

ModelConfig step_model(const Sizes& sizes) {
  if (sizes.scale == Scale::tiny)
    return {.vocab = 64,
            .context = 16,
            .layers = 2,
            .width = 32,
            .heads = 2,
            .kv_heads = 2,
            .ffn = 32,
            .tied = true,
            .experts = 4};
  return {.vocab = 50304,
          .context = 1024,
          .layers = 12,
          .width = 768,
          .heads = 12,
          .kv_heads = 12,
          .ffn = 2048,
          .tied = true,
          .experts = 8,
          .top_k = 2};
}

int64_t step_batch(const Sizes& sizes) {
  const int64_t gigabytes = gpu::device_info().memory >> 30;
  return sizes.scale == Scale::tiny ? 2 : gigabytes >= 70 ? 16 : gigabytes >= 38 ? 8 : gigabytes >= 22 ? 2 : 1;
}

Training::Training(const ModelConfig& model, int64_t B, Dtype dtype)
    : B_(B), model_(model, 1, dtype, Device::cuda), optimizer_(model_, {}) {}

void Training::step() {
  const ModelConfig& c = model_.config();
  Pass pass{.training = true, .seed = 1};
  const ForwardResult f = model_(random_tokens(B_, c.context, c.vocab, random_), {.pass = &pass});
  const Var loss = mean(cross_entropy(f.logits, random_tokens(B_, c.context, c.vocab, random_).to(Device::cuda)));
  Var total = loss;
  for (const AuxTerm& term : f.aux) total = add(total, scale(term.value, term.coefficient));
  backward(total);
  optimizer_.step(3e-4, 1);
  loss_ = loss.value();
}

double Training::sample(int steps) {
  gpu::synchronize();
  const double start = now();
  for (int i = 0; i < steps; ++i) step();
  host_ = 1e3 * (now() - start) / steps;
  gpu::synchronize();
  return 1e3 * (now() - start) / steps;
}

double decode_rate(Transformer& model, int64_t B, int tokens) {
  const NoGrad no_grad;
  const ModelConfig& c = model.config();
  Random random{{2, 1}};
  std::vector<KeyValueCache> cache = make_cache(c, B, model.dtype(), {}, Device::cuda);
  const auto feed = [&](int64_t T) {
    // The next token depends on the logits, so the host must have them.
    return model(random_tokens(B, T, c.vocab, random), {.cache = &cache, .last_only = true})
        .logits.value()
        .to(Device::cpu);
  };
  feed(c.context / 2);
  feed(1);
  const double start = now();
  for (int i = 0; i < tokens; ++i) feed(1);
  return double(B) * tokens / (now() - start);
}

}  // namespace switchyard::bench
