// What a run will cost: the memory is what it takes, what cannot fit is refused with what would, and looking changes
// nothing.
#include <fstream>
#include <nlohmann/json.hpp>

#include "moe/size.h"
#include "tensor/file.h"
#include "tensor/storage.h"
#include "tests/moe_models.h"
#include "train/forecast.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

RunConfig run_in(const Scratch& scratch, const char* name) {
  std::string words;
  for (int i = 0; i < 900; ++i) words += "car " + std::to_string(i * i % 97) + " takes track\n";
  write_file(scratch.path / "text.txt", words);
  RunConfig run{.source = {{scratch.path / "text.txt"}}, .model = tiny(), .train = {}, .out = scratch.path / name};
  run.train = {.tokenizer = TokenizerKind::bytes, .steps = 6, .batch = 8, .warmup = 2};
  run.train.eval_every = run.train.sample_every = 3, run.train.checkpoint_every = 3, run.train.eval_tokens = 500;
  return run;
}

}  // namespace

TEST_CASE("forecast: a run that was foretold ends with the bits of one that was not") {
  const Scratch scratch;
  const std::atomic<bool> stop{false};
  std::string weights[2];
  for (int foretold = 0; foretold < 2; ++foretold) {
    RunConfig run = run_in(scratch, foretold ? "a" : "b");
    run.model.dropout = 0.1, run.model.router = "deepseek-v3", run.model.gate_norm = GateNorm::sum_to_one;
    Trainer trainer(run, false);
    if (foretold) {
      const Forecast f = forecast(trainer);
      CHECK(f.seconds > 0);
      CHECK(f.seconds_a_step > 0);
      CHECK(f.memory > 0);
      CHECK(f.memory <= f.available);
      CHECK(text(f, 6).find("for 6 steps") != std::string::npos);
    }
    Report report(run.out, 0, 6, 1, 0, true);
    trainer.run(stop, report);
    weights[foretold] = read_file(run.out / "optimizer.safetensors");
  }
  CHECK(weights[0] == weights[1]);
}

TEST_CASE("forecast: after it, a run takes no more from the system than for an evaluation's last, smaller batch") {
  const Scratch scratch;
  const std::atomic<bool> stop{false};
  RunConfig run = run_in(scratch, "run");
  Trainer trainer(run, false);
  const auto pooled = [] { return pool_stats(Device::cpu).bytes_pooled; };
  release_pool(Device::cpu);
  const int64_t state = pooled();
  trainer.evaluate(16 * run.model.context);
  const int64_t evaluation = pooled() - state;
  forecast(trainer);
  const int64_t before = pooled();
  Report report(run.out, 0, 6, 1, 0, true);
  trainer.run(stop, report);
  CHECK(pooled() - before <= evaluation);
}

TEST_CASE("forecast: a model whose weights do not fit is refused with the nearest that do") {
  ModelConfig c = tiny();
  c.experts = 64;
  const auto needs = [](const ModelConfig& model) { return 16 * count_parameters(model).total; };
  check_state_fits(c, -1);  // nobody knows: nothing is refused
  check_state_fits(c, needs(c));
  for (int E : {63, 40, 5, 2}) {
    ModelConfig smaller = c;
    smaller.experts = E;
    for (int64_t spare : {int64_t{0}, int64_t{1}})
      CHECK(error_of([&] {
              check_state_fits(c, needs(smaller) + spare);
            }).find(fmt::format("; --experts {} fits", E)) != std::string::npos);
  }
  ModelConfig dense = dense_twin(tiny());
  dense.layers = 30;
  ModelConfig seven = dense;
  seven.layers = 7;
  CHECK(error_of([&] { check_state_fits(dense, needs(seven)); }).find("; --layers 7 fits") != std::string::npos);
  dense.layers = 1, dense.ffn = 100;
  ModelConfig narrow = dense;
  narrow.ffn = 12;
  CHECK(error_of([&] { check_state_fits(dense, needs(narrow)); }).find("; --ffn 12 fits") != std::string::npos);
  CHECK(error_of([&] { check_state_fits(dense, 10); }).find("lower --width") != std::string::npos);
}

TEST_CASE("forecast: a batch that does not fit is refused with the largest that does") {
  const Scratch scratch;
  RunConfig run = run_in(scratch, "run");
  run.train.batch = 64;
  Trainer trainer(run, false);
  check_batch_fits(trainer, int64_t{1} << 40);
  check_batch_fits(trainer, -1);
  const std::string error = error_of([&] { check_batch_fits(trainer, 4 << 20); });
  CHECK(error.find("--batch 64: needs") != std::string::npos);
  const size_t at = error.find("; --batch ");
  REQUIRE(at != std::string::npos);
  const int fits = std::stoi(error.substr(at + 10));
  CHECK((fits >= 1 && fits < 64));
  // It does fit, and one that is a third larger does not.
  const auto taken = [&](int64_t B) {
    release_pool(Device::cpu);
    const int64_t before = pool_stats(Device::cpu).bytes_pooled;
    backward(trainer.forward(0, B).total);
    const int64_t all = pool_stats(Device::cpu).bytes_pooled - before;
    trainer.model().visit([](const std::string&, Var& p) { p.clear_grad(); });
    return all;
  };
  CHECK(double(taken(fits)) < 1.15 * (4 << 20));
  CHECK(taken(fits * 4 / 3 + 1) > 4 << 20);
}
