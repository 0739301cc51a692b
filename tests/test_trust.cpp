// What a run survives: numbers that are none, spikes, a damaged checkpoint, a text that changes.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/file.h"
#include "tests/moe_models.h"
#include "train/replay.h"

using namespace switchyard;
using namespace switchyard::test;
namespace fs = std::filesystem;

namespace {

// A run of a tiny model on a text of its own.
struct Run {
  Scratch scratch;
  fs::path out = scratch.path / "run", text = scratch.path / "text.txt";
  const std::atomic<bool> stop{false};
  RunConfig config{.source = {{text}}, .model = tiny(), .train = {}, .out = out};

  Run() {
    std::string words;
    for (int i = 0; i < 400; ++i) words += "car " + std::to_string(i * i % 97) + " takes track\n";
    write_file(text, words);
    config.model.context = 16;
    config.train = {.tokenizer = TokenizerKind::bytes,
                    .steps = 12,
                    .batch = 2,
                    .rate = 1e-3,
                    .warmup = 2,
                    .schedule = Schedule::constant};
    config.train.eval_every = config.train.sample_every = 1000, config.train.checkpoint_every = 4;
  }
  void train(bool resume = false) {
    Trainer trainer(resume ? resumed() : config, resume);
    go(trainer);
  }
  RunConfig resumed() const {
    RunConfig c = load_run(out);
    c.train.steps = config.train.steps;
    return c;
  }
  void go(Trainer& trainer) {
    Report report(out, trainer.steps_done(), config.train.steps, 1, 0, true);
    trainer.run(stop, report);
  }
  std::vector<nlohmann::json> metrics(const char* key) const {
    std::vector<nlohmann::json> found;
    std::ifstream in(out / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      const nlohmann::json json = nlohmann::json::parse(line);
      if (json.contains(key)) found.push_back(json);
    }
    return found;
  }
  std::string weights() const { return read_file(out / "model.safetensors"); }
};

void spoil(const fs::path& file, size_t at) {
  std::string bytes = read_file(file);
  bytes.at(at) ^= 0x10;
  write_file(file, bytes);
}

}  // namespace

TEST_CASE("trust: a spike is a loss far above those before it") {
  SpikeWatch watch(6);
  for (int i = 0; i < 31; ++i) CHECK(!watch.judge(i % 2 ? 2.0 : 2.2, 1));
  CHECK(!watch.judge(100, 1));  // of 31 steps nobody can say what is usual
  SpikeWatch other(6);
  for (int i = 0; i < 200; ++i) CHECK(!other.judge(i % 2 ? 2.0 : 2.2, 1));
  // Mean 2.1, and the sample's deviation of 64 twos and 64 2.2's: 0.1 sqrt(128 / 127).
  const double deviation = 0.1 * std::sqrt(128 / 127.0);
  CHECK(
      other.judge(2.1 + 6.01 * deviation, 1).value().find("6.0 standard deviations above the mean 2.1 of 128 steps") !=
      std::string::npos);
  CHECK(!other.judge(2.1 + 5.9 * deviation, 1));
  CHECK(other.judge(std::nan(""), 1) == "the loss is not a number");
  CHECK(other.judge(-std::nan(""), 1) == "the loss is not a number");
  CHECK(other.judge(INFINITY, 1) == "the loss is infinite");
  CHECK(other.judge(2, std::nan("")) == "the gradient's norm is not a number");
  CHECK(!other.judge(0.1, 1));  // lower is no spike

  SpikeWatch sure(6);  // a text known by heart: what is tiny may double
  for (int i = 0; i < 100; ++i) CHECK(!sure.judge(0.001, 1));
  CHECK(!sure.judge(0.1, 1));
  CHECK(sure.judge(0.2, 1));
}

TEST_CASE("trust: a spike is judged alike by a run that was resumed") {
  SpikeWatch whole(6), resumed(6);
  for (int i = 0; i < 150; ++i) whole.judge(2 + std::sin(i), 1);
  resumed.restore(nlohmann::json::parse(whole.state().dump()));
  CHECK(resumed.state() == whole.state());
  CHECK(resumed.judge(9, 1) == whole.judge(9, 1));
}

TEST_CASE("trust: a number that is none stops the run before the step, and the snapshot replays it") {
  Run run;
  {
    Trainer trainer(run.config, false);
    run.go(trainer);
  }
  // Steps 13 and on: one weight of the router becomes a NaN.
  run.config.train.steps = 20;
  Trainer trainer(run.resumed(), true);
  trainer.model().visit([](const std::string& name, Var& p) {
    if (name == "layers.1.attention.out.weight") p.value().data<float>()[5] = std::nanf("");
  });
  const std::string before = run.weights();
  const std::string error = error_of([&] { run.go(trainer); });
  CHECK(error.find("step 13: the loss is not a number") != std::string::npos);
  CHECK(error.find("spike") != std::string::npos);
  CHECK(run.weights() == before);
  REQUIRE(run.metrics("event").size() == 1);
  CHECK(run.metrics("event")[0]["step"] == 13);

  RunConfig snapshot = load_run(run.out / "spike");
  Trainer again(snapshot, true);
  const Replay r = replay(again);
  CHECK(r.step == 13);
  CHECK(std::isnan(r.loss));
  CHECK(r.culprit.starts_with(
      "weight layers.1.attention.out.weight: 1 of 256 numbers are not finite, the first at [0, 5]"));
}

TEST_CASE("trust: replay computes the step to the bit and moves nothing") {
  Run run;
  run.config.train.accumulate = 2;
  run.config.train.steps = 8;
  run.train();
  run.config.train.steps = 9;
  Trainer trainer(run.resumed(), true);
  const Replay r = replay(trainer);
  CHECK(r.step == 9);
  CHECK(r.culprit == "");
  double squares = 0;
  for (const Replay::Share& s : r.shares) squares += s.norm * s.norm;
  CHECK(std::sqrt(squares) == doctest::Approx(r.gradient_norm).epsilon(1e-6));
  CHECK(r.sequences.size() == 4);  // two passes of two
  for (size_t i = 1; i < 4; ++i) CHECK(r.sequences[i - 1].loss >= r.sequences[i].loss);
  CHECK(r.sequences[0].text.size() == 16);
  run.go(trainer);  // as if nobody had looked
  const nlohmann::json step = run.metrics("loss").back();
  CHECK(step["step"] == 9);
  CHECK(step["loss"].get<double>() == r.loss);
  CHECK(step["gradient_norm"].get<double>() == r.gradient_norm);
}

TEST_CASE("trust: replay finds where an overflow begins") {
  Run run;
  run.train();
  run.config.train.steps = 20;
  Trainer trainer(run.resumed(), true);
  trainer.model().visit([](const std::string& name, Var& p) {
    if (name == "layers.0.moe.experts.out" || name == "layers.0.moe.experts.in")
      for (int64_t i = 0; i < p.value().count(); ++i) p.value().data<float>()[i] *= 1e25f;
  });
  const Replay r = replay(trainer);
  CAPTURE(r.culprit);
  CHECK(r.culprit.starts_with("result of swiglu"));
  CHECK(r.culprit.find("at layers.0.moe.experts.in: ") != std::string::npos);
}

TEST_CASE("trust: a step that is skipped changes nothing, and the next one goes on") {
  Run run;
  run.config.train.on_spike = OnSpike::skip;
  Trainer trainer(run.config, false);
  bool poison = false;
  RunConfig config = run.config;
  config.out = run.scratch.path / "poisoned";
  config.beside = [&](const Batch& batch, const Var& logits) {
    (void)batch;
    const float x = poison ? std::nanf("") : 0.0f;
    return AuxTerm{"poison", scale(mean(logits), double(x)), 1.0};
  };
  Trainer poisoned(config, false);
  Report report(config.out, 0, 12, 1, 0, true);
  // Six steps, one that is none, and the rest: the poisoned gradient must leave weights and moments alone.
  std::vector<std::string> events;
  poison = true;
  const auto values = [](Trainer& t) {
    std::vector<double> all;
    t.model().visit([&](const std::string&, Var& p) {
      for (double x : p.value().values()) all.push_back(x);
    });
    return all;
  };
  const std::vector<double> before = values(poisoned);
  const std::string error = error_of([&] { poisoned.run(run.stop, report); });
  CHECK(error == "no error");  // 12 steps skipped, less than it takes to give up
  CHECK(values(poisoned) == before);
  CHECK(poisoned.steps_done() == 12);
  CHECK(poisoned.optimizer().updates() == 0);

  RunConfig longer = config;
  longer.out = run.scratch.path / "hopeless", longer.train.steps = 30;
  Trainer hopeless(longer, false);
  Report of(longer.out, 0, 30, 1, 0, true);
  CHECK(error_of([&] { hopeless.run(run.stop, of); }).find("step 20: the gradient's norm is not a number") !=
        std::string::npos);
}

TEST_CASE("trust: muon, the mean of the weights and the noise go on from a checkpoint to the same bits") {
  Run whole, parts;
  for (Run* run : {&whole, &parts}) {
    TrainConfig& c = run->config.train;
    c.optimizer = OptimizerKind::muon, c.average = 0.9, c.router_rate = 0.5, c.decay = Decay::hidden;
    c.accumulate = 2, c.gradient_noise = true, c.eval_every = 6;
  }
  whole.train();
  parts.config.train.steps = 8;
  parts.train();
  parts.config.train.steps = 12;
  parts.train(true);
  CHECK(whole.weights() == parts.weights());
  CHECK(read_file(whole.out / "optimizer.safetensors") == read_file(parts.out / "optimizer.safetensors"));
  CHECK(whole.metrics("average_val_loss").back() == parts.metrics("average_val_loss").back());
  CHECK(whole.metrics("average_val_loss").back()["average_val_loss"] != whole.metrics("val_loss").back()["val_loss"]);
}

TEST_CASE("trust: a damaged checkpoint gives way to the one before it") {
  Run whole;
  whole.train();
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "train.json", "config.json", "tokenizer.json"})
    for (bool missing : {false, true}) {
      CAPTURE(file);
      Run run;
      run.config.train.steps = 8;
      run.train();  // checkpoints of steps 4 and 8
      if (missing)
        fs::remove(run.out / file);
      else
        spoil(run.out / file, read_file(run.out / file).size() / 2);
      run.config.train.steps = 12;
      RunConfig config = run.resumed();
      {
        Trainer trainer(config, true);
        CHECK(trainer.steps_done() == 4);
        run.go(trainer);
      }
      const std::vector<nlohmann::json> events = run.metrics("event");
      REQUIRE(events.size() == 1);
      CHECK(events[0]["event"].get<std::string>().find(file) != std::string::npos);
      CHECK(events[0]["event"].get<std::string>().find("of step 4") != std::string::npos);
      CHECK(run.weights() == whole.weights());
    }
}

TEST_CASE("trust: without a whole checkpoint the message says so") {
  Run run;
  run.config.train.steps = 4;
  run.train();
  spoil(run.out / "model.safetensors", 3000);
  const std::string error = error_of([&] { run.train(true); });
  CHECK(error.find("model.safetensors: damaged") != std::string::npos);
  CHECK(error.find("no earlier checkpoint") != std::string::npos);

  Run both;
  both.train();
  spoil(both.out / "model.safetensors", 3000), spoil(both.out / "previous" / "optimizer.safetensors", 3000);
  const std::string worse = error_of([&] { both.train(true); });
  CHECK(worse.find("model.safetensors: damaged") != std::string::npos);
  CHECK(worse.find("previous/optimizer.safetensors: damaged") != std::string::npos);
}

TEST_CASE("trust: a text that changes, or goes, does not change a run that has begun") {
  Run whole;
  whole.train();
  for (bool gone : {false, true}) {
    Run run;
    run.config.train.steps = 8;
    run.train();
    run.config.train.steps = 12;
    if (gone)
      fs::remove(run.text);
    else
      write_file(run.text, "another text, and much shorter\n");
    run.train(true);
    CHECK(run.weights() == whole.weights());
  }
  Run lost;  // neither the tokens nor the text that they were made from
  lost.train();
  for (const fs::directory_entry& entry : fs::directory_iterator(lost.out))
    if (entry.path().extension() == ".bin") fs::remove(entry.path());
  write_file(lost.text, "another text\n");
  lost.config.train.steps = 20;
  CHECK(error_of([&] { lost.train(true); }).find("has changed since") != std::string::npos);
}

TEST_CASE("trust: a checksum tells every damaged byte, and the length") {
  std::string text(1003, '\0');
  const auto sum = [&] { return checksum(std::as_bytes(std::span(text))); };
  const uint64_t whole = sum();
  for (size_t i = 0; i < text.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      text[i] ^= char(1 << bit);
      CHECK(sum() != whole);
      text[i] ^= char(1 << bit);
    }
  text.push_back('\0');
  CHECK(sum() != whole);
  CHECK(checksum(std::span<const std::byte>()) != whole);
  const Scratch scratch;
  for (size_t size :
       {size_t{0}, size_t{1}, size_t{7}, size_t{8}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{5} << 19) + 3}) {
    text.assign(size, 'a');
    for (size_t i = 0; i < size; i += 97) text[i] = char('b' + i % 20);
    write_file(scratch.path / "file", text);
    CHECK(checksum(scratch.path / "file") == sum());
  }
}
