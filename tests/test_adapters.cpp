// Low-rank adapters: what they compute, what they leave alone, and that they can become part of the matrices.
#include "moe/checkpoint.h"
#include "moe/merge.h"
#include "moe/size.h"
#include "tests/gradients.h"
#include "tests/moe_models.h"
#include "train/freeze.h"
#include "train/trainer.h"

using namespace switchyard;
using namespace switchyard::test;
namespace fs = std::filesystem;

namespace {

// Models with every kind of matrix that has an adapter.
std::vector<ModelConfig> adapted_models() {
  ModelConfig c = tiny();
  c.adapters.rank = 3, c.adapters.alpha = 5;
  std::vector<ModelConfig> all;
  const auto add = [&](ModelConfig model) {
    for (Adapters part : {Adapters::attention, Adapters::experts, Adapters::all})
      model.adapters.of = part, all.push_back(model);
  };
  add(c);
  c.shared_experts = 2, c.shared_gate = true, c.first_dense = 1, c.layers = 3, c.activation = Activation::gelu;
  for (const auto& [what, attention] : all_attentions(c)) add(attention);
  c = tiny(), c.adapters.rank = 1, c.experts = c.top_k = 1, c.gate_norm = GateNorm::none;
  add(c);
  return all;
}

bool of_adapter(const std::string& name) { return name.find(".adapter.") != std::string::npos; }

std::map<std::string, std::vector<double>> values(Transformer& model) {
  std::map<std::string, std::vector<double>> all;
  model.visit([&](const std::string& name, Var& p) { all[name] = p.value().values(); });
  return all;
}

RunConfig tuned(const fs::path& dir, const fs::path& start) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += fmt::format("{} times {} is {}\n", i, i, i * i);
  write_file(dir / "text", text);
  ModelConfig model = load_config(start);
  model.adapters.of = Adapters::all, model.adapters.rank = 2;
  TrainConfig train{.tokenizer = TokenizerKind::bytes, .steps = 6, .batch = 3, .eval_tokens = 200};
  train.warmup = 1;
  return {.source = {{dir / "text"}}, .model = model, .train = train, .out = dir / "run", .start = start};
}

// A plain model in dir / "plain".
fs::path plain_model(const fs::path& dir) {
  ModelConfig c = tiny();
  c.vocab = 257;
  Transformer model = lively_model(c);
  save_model(dir / "plain", model);
  return dir / "plain";
}

}  // namespace

TEST_SUITE_BEGIN("adapters");

TEST_CASE("a linear layer's adapter adds alpha / r B A x: against plain loops") {
  Init init(3, Dtype::f64);
  Linear layer(5, 4, 0.5, init, true);
  layer.adapt({.rank = 2, .alpha = 6}, init);
  CHECK(largest(layer.adapter->up.value().values()) == 0);
  CHECK(largest(layer.adapter->down.value().values()) > 0);
  const Numbers A = layer.adapter->down.value().values(), B = normal_numbers(8, 4, 1), x = normal_numbers(15, 5, 1);
  const Numbers W = layer.weight.value().values();
  set(layer.adapter->up, B), set(layer.bias, {1, 2, 3, 4});
  const Numbers y = layer(Var(Tensor::from(x, {3, 5}, Dtype::f64))).value().values();
  for (size_t t = 0; t < 3; ++t)
    for (size_t o = 0; o < 4; ++o) {
      double sum = double(o + 1);
      for (size_t i = 0; i < 5; ++i) {
        sum += W[o * 5 + i] * x[t * 5 + i];
        for (size_t r = 0; r < 2; ++r) sum += 3 * B[o * 2 + r] * A[r * 5 + i] * x[t * 5 + i];
      }
      CHECK(y[t * 4 + o] == doctest::Approx(sum).epsilon(1e-12));
    }
}

TEST_CASE("new adapters change no bit, trained ones can be merged, and the sizes are what they should be") {
  for (const ModelConfig& c : adapted_models()) {
    CAPTURE(text(c));
    CAPTURE(name(c.adapters.of));
    const Scratch dir;
    ModelConfig without = c;
    without.adapters = {};
    Transformer plain = lively_model(without);
    save_model(dir.path / "plain", plain);
    Transformer model(c, 7);
    load_weights(dir.path / "plain", model);
    const Tensor tokens = random_tokens(2, 20, c.vocab, 4);
    CHECK(model(tokens).logits.value().values() == plain(tokens).logits.value().values());

    int64_t count = 0, in_adapters = 0;
    Transformer lively(c, 7, Dtype::f64);
    uint64_t stream = 900;
    lively.visit([&](const std::string& name, Var& p) {
      count += p.requires_grad() ? p.value().count() : 0;
      in_adapters += of_adapter(name) ? p.value().count() : 0;
      if (p.shape().rank() > 1) set(p, normal_numbers(p.value().count(), stream++, 0.3));
    });
    CHECK(count == total_params(c));
    CHECK(in_adapters == total_params(c) - total_params(without));
    CHECK(in_adapters > 0);
    Transformer whole = merged(lively);
    CHECK(!whole.config().adapters.any());
    CHECK(values(whole).size() == values(plain).size());
    const Numbers want = lively(tokens).logits.value().values(), is = whole(tokens).logits.value().values();
    CHECK(largest_difference(is, want) <= 1e-10 * largest(want));
    save_model(dir.path / "adapted", model);
    Transformer back = load_model(dir.path / "adapted");
    CHECK(values(back) == values(model));
    CHECK(config_json(c).find("\"model_type\": \"switchyard\"") != std::string::npos);
    CHECK(config_json(whole.config()) == config_json(without));
  }
}

TEST_CASE("training moves the adapters and leaves every other bit as it was") {
  const Scratch dir;
  const RunConfig config = tuned(dir.path, plain_model(dir.path));
  Transformer start = load_model(config.start);
  Trainer trainer(config, false);
  CHECK(trained_parameters(trainer.model()) == total_params(trainer.model().config()) - total_params(start.config()));
  Report report(config.out, 0, config.train.steps, 1, 0, ViewKind::none);
  const std::atomic<bool> never{false};
  trainer.run(never, report);
  const auto before = values(start), after = values(trainer.model());
  for (const auto& [name, numbers] : after) {
    CAPTURE(name);
    if (of_adapter(name))
      CHECK(largest(numbers) > 0);
    else
      CHECK(numbers == before.at(name));
  }
  Transformer kept = load_model(config.out);  // the run's folder is a model like any other
  CHECK(values(kept) == after);
}

TEST_SUITE_END();
