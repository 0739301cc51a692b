#include "train/forecast.h"

#include <algorithm>
#include <chrono>

#include "moe/size.h"
#include "tensor/cuda/device.h"
#include "tensor/machine.h"
#include "tensor/storage.h"
#include "train/view.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

template <class F>
double seconds_of(F&& f) {
  const Clock::time_point start = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Bytes that this process may still take; -1: not known.
int64_t free_memory(Device device) {
  if (device == Device::cpu) return memory_available();
  size_t free = 0, total = 0;
  gpu::memory_left(free, total);
  return static_cast<int64_t>(free);
}

double gigabytes(int64_t bytes) { return double(bytes) / 1e9; }

// Weights; and of those that are trained, gradients and moments.
int64_t state_bytes(const ModelConfig& model, int64_t beside) {
  ModelConfig frozen = model;
  frozen.adapters = {};
  const int64_t all = total_params(model);
  return 4 * all + beside * (model.adapters.any() ? all - total_params(frozen) : all);
}

// The largest value of a field, below its own, with which the model's state fits; 0: none does.
template <class Field>
int largest_that_fits(ModelConfig model, Field field, int least, int64_t available, int64_t beside) {
  for (model.*field -= 1; model.*field >= least; model.*field -= 1)
    if (state_bytes(model, beside) <= available) return model.*field;
  return 0;
}

// Forward, backward, and nothing kept. Reading the loss waits for the device.
void pass(Trainer& trainer, int64_t B) {
  const Trainer::Forward f = trainer.forward(0, B);
  backward(f.total);
  (void)f.loss.value().item();
}
void forget_gradients(Trainer& trainer) {
  trainer.model().visit([](const std::string&, Var& p) { p.clear_grad(); });
}

// Bytes that a pass of B sequences takes from the pool, beside what lives through it.
int64_t bytes_of_pass(Trainer& trainer, int64_t B) {
  const Device device = trainer.config().device;
  forget_gradients(trainer);
  release_pool(device);
  const int64_t before = pool_stats(device).bytes_pooled;
  pass(trainer, B);
  return pool_stats(device).bytes_pooled - before;
}

// How often something that happens every `every` steps, and after the last one, happens from step `first` on.
double times(int64_t first, int64_t steps, int64_t every) {
  return double(steps / every - first / every + (steps % every != 0));
}

}  // namespace

void check_state_fits(const ModelConfig& model, Device device, int64_t beside) {
  check_state_fits(model, free_memory(device), beside);
}

void check_state_fits(const ModelConfig& model, int64_t available, int64_t beside) {
  const int64_t needed = state_bytes(model, beside);
  if (available < 0 || needed <= available) return;
  std::string nearest;
  if (const int E = largest_that_fits(model, &ModelConfig::experts, std::max(model.top_k, 2), available, beside))
    nearest = fmt::format("--experts {} fits", E);
  else if (const int L = largest_that_fits(model, &ModelConfig::layers, 1, available, beside))
    nearest = fmt::format("--layers {} fits", L);
  else if (const int F = largest_that_fits(model, &ModelConfig::ffn, 1, available, beside))
    nearest = fmt::format("--ffn {} fits", F);
  else
    nearest = "not even one layer does; lower --width or --merged-vocab";
  fail("a model of {:.2f} billion parameters: training it takes at least {:.1f} GB, and {:.1f} GB are available; {}",
       double(count_parameters(model).total) / 1e9, gigabytes(needed), gigabytes(available), nearest);
}

// What a pass takes is a straight line in B.
void check_batch_fits(Trainer& trainer, int64_t available) {
  const int64_t B = trainer.config().train.batch;
  if (available < 0 || B < 3) return;
  const int64_t one = bytes_of_pass(trainer, 1), two = bytes_of_pass(trainer, 2);
  forget_gradients(trainer);
  release_pool(trainer.config().device);
  const int64_t each = std::max<int64_t>(two - one, 1), all = one + (B - 1) * each;
  if (all <= available) return;
  const int64_t most = std::clamp<int64_t>(1 + (available - one) / each, 1, B - 1);
  fail("--batch {}: needs {:.1f} GB beside the weights, and {:.1f} GB are available; --batch {} fits{}", B,
       gigabytes(all), gigabytes(available), most,
       B % most == 0 ? fmt::format(", and --accumulate {} makes the same step of it",
                                   B / most * trainer.config().train.accumulate)
                     : "");
}

Forecast forecast(Trainer& trainer) {
  const RunConfig& c = trainer.config();
  const int64_t available = free_memory(c.device);
  check_batch_fits(trainer, available);
  Forecast f;
  pass(trainer, c.train.batch);  // the first one also takes memory from the system
  std::vector<double> passes;
  while (passes.size() < 3 && (passes.empty() || passes[0] < 1)) {
    forget_gradients(trainer);
    passes.push_back(seconds_of([&] { pass(trainer, c.train.batch); }));
  }
  std::sort(passes.begin(), passes.end());
  const double norm_seconds = seconds_of([&] {
    trainer.optimizer().measure(1);
    (void)trainer.optimizer().gradient_norm();
  });
  forget_gradients(trainer);
  // The update reads and writes weights and two moments, and reads the gradients: about as long as seven readings of
  // the gradients, of which the norm is one.
  f.seconds_a_step = c.train.accumulate * passes[passes.size() / 2] + 8 * norm_seconds;
  // Each a second time: the first takes memory from the system. Documents differ in length, and so do the blocks that
  // they need, so the first evaluation is a longer one.
  const int64_t tokens = std::min<int64_t>(c.train.eval_tokens, 16 * c.model.context), written = 16;
  trainer.evaluate(std::min<int64_t>(c.train.eval_tokens, 4 * tokens)), trainer.sample(written);
  const double evaluation = seconds_of([&] { trainer.evaluate(tokens); }) / double(tokens);
  const double sample = seconds_of([&] { trainer.sample(written); }) / double(written);
  const double last = double(c.source.built_in() ? c.train.eval_tokens : trainer.data().validation_tokens());
  const int64_t first = trainer.steps_done(), steps = c.train.steps;
  const double checkpoint = 12.0 * double(count_parameters(c.model).total) / 5e8;  // half a gigabyte a second
  f.seconds =
      double(steps - first) * f.seconds_a_step +
      ((times(first, steps, c.train.eval_every) - 1) * double(c.train.eval_tokens) + last) * evaluation +
      times(first, steps, c.train.sample_every) * double(trainer.data().document_tokens(c.model.context)) * sample +
      times(first, steps, c.train.checkpoint_every) * checkpoint;
  const int64_t held = c.device == Device::cpu ? memory_now() : pool_stats(c.device).bytes_pooled;
  f.memory = held;
  f.available = available < 0 ? -1 : free_memory(c.device) + held;
  return f;
}

std::string text(const Forecast& f, int64_t steps) {
  return fmt::format("cost:  {:.2f} GB of memory at the peak{}; about {} for {} steps ({:.3g} ms each)",
                     gigabytes(f.memory), f.available < 0 ? "" : fmt::format(", of {:.1f}", gigabytes(f.available)),
                     minutes(f.seconds), steps, 1e3 * f.seconds_a_step);
}

}  // namespace switchyard
