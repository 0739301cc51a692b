// What moves the weights: AdamW against the loop of its paper, the learning rate against its formulas, accumulation,
// dropout, and a few steps of whole models.
#include "tests/gradients.h"
#include "tests/moe_models.h"
#include "train/optimizer.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

ModelConfig dense() {
  return {.vocab = 9,
          .context = 6,
          .layers = 1,
          .width = 8,
          .heads = 2,
          .kv_heads = 1,
          .ffn = 6,
          .norm = NormKind::layer,
          .init = 0.3,
          .experts = 1,
          .top_k = 1,
          .gate_norm = GateNorm::none};
}

struct PlainParameter {
  Var var;
  Numbers w, m, v;
};

std::vector<PlainParameter> plain_parameters(Transformer& model) {
  std::vector<PlainParameter> list;
  for (const auto& [name, p] : parameters(model)) {
    const Numbers zeros(size_t(p.value().count()), 0.0);
    list.push_back({p, p.value().values(), zeros, zeros});
  }
  return list;
}

// Loshchilov and Hutter's algorithm 2 on averaged gradients whose common norm is at most `clip`; returns that norm.
double plain_step(std::vector<PlainParameter>& list, const std::vector<Numbers>& gradients, const TrainConfig& c, int t,
                  double rate, double passes) {
  double squares = 0;
  for (const Numbers& g : gradients) squares += dot(g.data(), g.data(), g.size()) / (passes * passes);
  const double norm = std::sqrt(squares), shrink = norm > c.clip ? c.clip / norm : 1;
  for (size_t p = 0; p < list.size(); ++p) {
    auto& [var, w, m, v] = list[p];
    const double decay = var.shape().rank() >= 2 ? c.weight_decay : 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const double g = gradients[p][i] / passes * shrink;
      m[i] = c.beta1 * m[i] + (1 - c.beta1) * g;
      v[i] = c.beta2 * v[i] + (1 - c.beta2) * g * g;
      const double mean = m[i] / (1 - std::pow(c.beta1, t)), square = v[i] / (1 - std::pow(c.beta2, t));
      w[i] -= rate * (mean / (std::sqrt(square) + c.epsilon) + decay * w[i]);
    }
  }
  return norm;
}

Tensor targets_of(const Tensor& tokens, int vocab) {
  Ints next = ints(tokens);
  for (int32_t& id : next) id = (3 * id + 1) % vocab;  // learnable from the token alone
  return Tensor::from(next, {tokens.count()});
}

Var loss_of(Transformer& model, const Tensor& tokens, Pass* pass = nullptr) {
  const ForwardResult out = model(tokens, {.pass = pass});
  Var loss = mean(cross_entropy(out.logits, targets_of(tokens, model.config().vocab)));
  for (const AuxTerm& term : out.aux) loss = add(loss, scale(term.value, term.coefficient));
  return loss;
}

std::vector<Numbers> values(Transformer& model) {
  std::vector<Numbers> all;
  for (const auto& [name, p] : parameters(model)) all.push_back(p.value().values());
  return all;
}

}  // namespace

TEST_SUITE_BEGIN("training: adamw");

TEST_CASE("ten steps equal the plain loop: decoupled decay of matrices alone, clipping, averaging over passes") {
  for (auto [dtype, tolerance] : {std::pair{Dtype::f64, 1e-13}, {Dtype::f32, 2e-6}}) {
    ModelConfig model_config = dense();
    model_config.experts = 3, model_config.top_k = 2;
    Transformer model(model_config, 1, dtype);
    if (dtype == Dtype::f64) scramble(parameters(model), 0.3, 4);
    const TrainConfig c{.beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.3, .clip = 2};
    Optimizer optimizer(model, c);
    std::vector<PlainParameter> plain = plain_parameters(model);
    int clipped = 0, ranks = 0;
    for (int t = 1; t <= 10; ++t) {
      const int64_t passes = 1 + t % 3;
      std::vector<Numbers> gradients;
      for (const PlainParameter& p : plain) {
        gradients.push_back(normal_numbers(p.var.value().count(), uint64_t(100 * t) + gradients.size(), 0.06 * t));
        p.var.accumulate(Tensor::from(gradients.back(), p.var.shape(), dtype));
        gradients.back() = p.var.grad().values();  // rounded to the dtype
        ranks |= 1 << p.var.shape().rank();
      }
      const double rate = 0.02 / t, norm = plain_step(plain, gradients, c, t, rate, double(passes));
      optimizer.step(rate, passes);
      CHECK(optimizer.gradient_norm() == doctest::Approx(norm).epsilon(tolerance));
      CHECK(optimizer.steps() == t);
      clipped += norm > c.clip;
      for (const PlainParameter& p : plain) {
        CHECK(close(p.var.value().values(), p.w, tolerance));
        CHECK(!p.var.grad().defined());
      }
    }
    CHECK((clipped > 1 && clipped < 9));
    CHECK(ranks == 0b1110);  // norms, matrices, stacked experts
  }
}

TEST_CASE("without a gradient to speak of only decay moves a matrix, and a norm stays") {
  Transformer model(dense(), 1, Dtype::f64);
  Optimizer optimizer(model, {.weight_decay = 0.5});
  const std::vector<PlainParameter> before = plain_parameters(model);
  for (const PlainParameter& p : before) p.var.accumulate(Tensor::zeros(p.var.shape(), Dtype::f64));
  optimizer.step(0.1, 1);
  CHECK(optimizer.gradient_norm() == 0);
  for (const PlainParameter& p : before) {
    const double kept = p.var.shape().rank() >= 2 ? 1 - 0.1 * 0.5 : 1;
    const Numbers now = p.var.value().values();
    for (size_t i = 0; i < now.size(); ++i) REQUIRE(now[i] == doctest::Approx(kept * p.w[i]).epsilon(1e-14));
  }
}

TEST_CASE("two passes over half a batch each are one pass over all of it") {
  Transformer whole(dense(), 3, Dtype::f64), halves(dense(), 3, Dtype::f64);
  const TrainConfig c{.clip = 0.5};
  Optimizer one(whole, c), two(halves, c);
  for (uint64_t step = 0; step < 5; ++step) {
    const Tensor tokens = random_tokens(4, 6, 9, step);
    backward(loss_of(whole, tokens));
    for (int half : {0, 1}) backward(loss_of(halves, tokens.rows(2 * half, 2 * half + 2)));
    one.step(0.01, 1);
    two.step(0.01, 2);
    CHECK(one.gradient_norm() == doctest::Approx(two.gradient_norm()).epsilon(1e-12));
  }
  const std::vector<Numbers> a = values(whole), b = values(halves);
  for (size_t p = 0; p < a.size(); ++p) CHECK(close(b[p], a[p], 1e-10));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("training: schedule");

TEST_CASE("warm-up is a straight line that reaches the rate in its last step") {
  for (Schedule schedule : {Schedule::cosine, Schedule::wsd, Schedule::constant}) {
    const TrainConfig c{.steps = 100, .rate = 0.8, .warmup = 10, .schedule = schedule};
    for (int64_t step = 0; step < 10; ++step)
      CHECK(learning_rate(c, step) == doctest::Approx(0.08 * double(step + 1)).epsilon(1e-14));
    CHECK(learning_rate(c, 10) == doctest::Approx(0.8).epsilon(1e-14));
    TrainConfig cold = c;
    cold.warmup = 0;
    CHECK(learning_rate(cold, 0) == doctest::Approx(0.8).epsilon(1e-14));
    cold.warmup = 1000;  // longer than the run
    CHECK(learning_rate(cold, 99) == doctest::Approx(0.08).epsilon(1e-14));
  }
}

TEST_CASE("cosine: from the rate over the mean of both to the final rate, and never up again") {
  const TrainConfig c{.steps = 110, .rate = 2, .final_rate = 0.1, .warmup = 10};
  for (int64_t step = 10; step <= 110; ++step) {
    const double want = 0.2 + 0.9 * (1 + std::cos(M_PI * double(step - 10) / 100));
    CHECK(learning_rate(c, step) == doctest::Approx(want).epsilon(1e-13));
  }
  CHECK(learning_rate(c, 60) == doctest::Approx(1.1).epsilon(1e-13));
  CHECK(learning_rate(c, 110) == doctest::Approx(0.2).epsilon(1e-13));
  CHECK(learning_rate(c, 500) == doctest::Approx(0.2).epsilon(1e-13));
}

TEST_CASE("warm-up, stable, decay: flat until the share that goes straight down") {
  const TrainConfig c{
      .steps = 100, .rate = 1, .final_rate = 0.2, .warmup = 5, .schedule = Schedule::wsd, .decay_share = 0.25};
  for (int64_t step = 5; step <= 75; ++step) CHECK(learning_rate(c, step) == 1);
  for (int64_t step = 75; step <= 100; ++step)
    CHECK(learning_rate(c, step) == doctest::Approx(1 - 0.8 * double(step - 75) / 25).epsilon(1e-13));
  const TrainConfig flat{.steps = 100, .rate = 1, .warmup = 0, .schedule = Schedule::constant};
  CHECK(learning_rate(flat, 99) == 1);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("training: dropout");

TEST_CASE("drops the share that it is told to, keeps the mean, and is decided by its key") {
  const int64_t n = 200'000;
  const Var x(Tensor::full({n}, 1), true);
  for (double p : {0.1, 0.5, 0.9}) {
    const Var y = dropout(x, p, {1, 2});
    const Numbers out = y.value().values();
    const float kept = 1 / float(1 - p);
    const auto zeros = std::count(out.begin(), out.end(), 0.0);
    CHECK(std::abs(double(zeros) - p * double(n)) < 4 * std::sqrt(p * (1 - p) * double(n)));
    CHECK(std::all_of(out.begin(), out.end(), [&](double v) { return v == 0 || v == doctest::Approx(kept); }));
    CHECK(dropout(x, p, {1, 2}).value().values() == out);
    for (RandomKey other : {RandomKey{1, 3}, RandomKey{2, 2}}) {
      const Numbers different = dropout(x, p, other).value().values();
      int64_t both = 0;  // independent: both zero with probability p^2
      for (size_t i = 0; i < out.size(); ++i) both += out[i] == 0 && different[i] == 0;
      CHECK(std::abs(double(both) - p * p * double(n)) < 4 * std::sqrt(p * p * (1 - p * p) * double(n)));
    }
    backward(sum(y));
    CHECK(x.grad().values() == out);  // the same elements, the same factor
    Var(x).clear_grad();
  }
  CHECK(dropout(x, 0, {1, 2}).value().values() == x.value().values());
}

TEST_CASE("a model drops in training alone, other elements in each pass, the same ones for the same seed") {
  ModelConfig c = dense();
  c.dropout = 0.3;
  Transformer model(c, 1), without(dense(), 1);
  const Tensor tokens = random_tokens(2, 6, c.vocab);
  const auto logits = [&](bool training, uint64_t seed) {
    return forward(model, tokens, training, seed).logits.value().values();
  };
  CHECK(logits(false, 1) == without(tokens).logits.value().values());
  CHECK(logits(true, 1) == logits(true, 1));
  CHECK(logits(true, 1) != logits(true, 2));
  CHECK(logits(true, 1) != logits(false, 1));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("training: whole models");

TEST_CASE("thirty steps halve the loss and move every expert and every parameter, with any router") {
  std::vector<ModelConfig> configs = all_routers(
      {.vocab = 9, .context = 8, .layers = 2, .width = 16, .heads = 2, .kv_heads = 1, .ffn = 16, .experts = 4});
  configs.push_back(dense());
  for (const ModelConfig& c : configs) {
    CAPTURE(text(c));
    Transformer model(c, 1);
    model.see_text(Counts(size_t(c.vocab), 1));
    Optimizer optimizer(model, {.weight_decay = 0});
    const std::vector<Numbers> before = values(model);
    const Tensor tokens = random_tokens(8, 6, c.vocab);
    const double first = loss_of(model, tokens).value().item();
    for (uint64_t step = 0; step < 30; ++step) {
      Pass pass{.training = true, .seed = step};
      backward(loss_of(model, tokens, &pass));
      optimizer.step(0.02, 1);
    }
    CHECK(loss_of(model, tokens).value().item() < first / 2);
    const Parameters list = parameters(model);
    for (size_t p = 0; p < list.size(); ++p) {
      CAPTURE(list[p].first);
      const Numbers after = list[p].second.value().values();
      const size_t parts = list[p].second.shape().rank() == 3 ? size_t(c.experts) : 1, size = after.size() / parts;
      for (size_t e = 0; e < parts; ++e) {
        CAPTURE(e);
        CHECK(!std::equal(&after[e * size], &after[e * size] + size, &before[p][e * size]));
      }
    }
  }
}

TEST_CASE("the same bits for any number of threads, in f32 and in bf16") {
  ModelConfig c = dense();
  c.experts = 4, c.top_k = 2, c.dropout = 0.1;
  const int usual = threads();
  for (Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    std::vector<std::vector<Numbers>> results;
    for (int count : {1, 2, 3}) {
      set_threads(count);
      Transformer model(c, 1, dtype);
      Optimizer optimizer(model, {});
      for (uint64_t step = 0; step < 3; ++step) {
        Pass pass{.training = true, .seed = step};
        backward(loss_of(model, random_tokens(16, 6, c.vocab, step), &pass));
        optimizer.step(0.01, 1);
      }
      results.push_back(values(model));
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
  }
  set_threads(usual);
}

TEST_SUITE_END();
