// Routers among everything else: combinations that make no sense, state in checkpoints and resumed runs, generation.
#include "infer/generate.h"
#include "moe/checkpoint.h"
#include "tests/router_cases.h"
#include "train/trainer.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Nonsense {
  std::string_view kind;
  std::function<void(ModelConfig&)> set;
  std::vector<std::string> says;  // parts of the message
};

ModelConfig four(std::string_view kind, int k) {
  ModelConfig c = tiny();
  c.router = kind, c.top_k = k, c.gate_norm = GateNorm::none;
  return c;
}

std::vector<Nonsense> nonsense() {
  const auto k = [](int value) { return [value](ModelConfig& c) { c.top_k = value; }; };
  const auto groups = [](int count, int kept, int k) {
    return [=](ModelConfig& c) { c.groups = count, c.group_top_k = kept, c.top_k = k; };
  };
  return {{"topk", [](ModelConfig& c) { c.top_k = 1, c.gate_norm = GateNorm::sum_to_one; }, {"--gate-norm sum-to-one"}},
          {"topk", k(5), {"--top-k 5", "--experts 4"}},
          {"switch", k(2), {"--top-k 2"}},
          {"noisy-topk", k(4), {"--top-k 4"}},
          {"noisy-topk", k(1), {"--top-k 1"}},  // a softmax over one is 1
          {"gshard", k(1), {"--top-k 1"}},
          {"gshard", k(3), {"--top-k 3"}},
          {"deepseek-v2", groups(3, 1, 1), {"--groups 3", "--experts 4"}},
          {"deepseek-v2", groups(2, 3, 2), {"--group-top-k 3", "--groups 2"}},
          {"deepseek-v2", groups(2, 1, 3), {"--top-k 3"}},
          {"deepseek-v3", groups(2, 1, 3), {"--top-k 3"}},
          {"deepseek-v3", groups(3, 1, 2), {"--groups 3", "--experts 4"}},
          {"deepseek-v3", groups(1, 1, 1), {"--top-k 1"}},  // s / s is 1
          {"hash", k(2), {"--top-k 2"}},
          {"hash", [](ModelConfig& c) { c.top_k = 1, c.gate_scale = 2; }, {"--gate-scale", "--router hash"}},
          {"soft", k(3), {"--top-k 3", "--experts 4"}},
          {"soft", [](ModelConfig& c) { c.top_k = 4, c.capacity = 2; }, {"--capacity"}},
          {"base", k(2), {"--top-k 2"}},
          {"expert-choice", k(5), {"--top-k 5"}}};
}

// Every value of a model under its name.
std::map<std::string, Numbers> values(Transformer& model) {
  std::map<std::string, Numbers> all;
  model.visit([&](const std::string& name, Var& p) { all[name] = p.value().values(); });
  return all;
}

std::string state_of(std::string_view kind) { return kind == "hash" ? "table" : "bias"; }

}  // namespace

TEST_SUITE_BEGIN("routers: configuration");

TEST_CASE("combinations that make no sense are refused in one line that says what would happen") {
  for (const Nonsense& bad : nonsense()) {
    ModelConfig c = four(bad.kind, 2);
    if (bad.kind == "topk") c.gate_norm = GateNorm::sum_to_one;
    bad.set(c);
    const std::string message = error_of([&] { validate(c); });
    INFO(bad.kind, ": ", message);
    for (const std::string& part : bad.says) CHECK(message.find(part) != std::string::npos);
    CHECK(message.starts_with("--"));
    CHECK(message.find('\n') == std::string::npos);
    CHECK((message.find(", or ") != std::string::npos || message.find(", for ") != std::string::npos ||
           message.find("must be at most") != std::string::npos ||
           message.find("; --router topk") != std::string::npos));
    CHECK(error_of([&] { Transformer model(c); }) == message);
    Init init(0);
    CHECK(error_of([&] { make_router(c, init); }) == message);
  }
  CHECK(error_of([] { validate(four("topkk", 2)); }).find("did you mean topk") != std::string::npos);
}

TEST_CASE("what makes sense is not refused") {
  for (std::string_view kind : router_kinds) {
    CHECK(error_of([&] { validate(four(kind, usual_top_k(kind, 4))); }) == "no error");
  }
  for (const char* kind : {"deepseek-v2", "expert-choice", "sinkhorn"})
    CHECK(error_of([&] { validate(four(kind, 1)); }) == "no error");
  ModelConfig v3 = four("deepseek-v3", 4);
  v3.groups = 4, v3.group_top_k = 4;
  CHECK(error_of([&] { validate(v3); }) == "no error");
}

TEST_CASE("capacity groups that do not divide the tokens are refused") {
  for (std::string_view kind : {"topk", "gshard"}) {
    ModelConfig c = four(kind, 2);
    c.capacity = 1.0, c.capacity_groups = 4;
    Transformer model = lively_model(c);
    CHECK(error_of([&] { forward(model, random_tokens(2, 8, c.vocab), true); }) == "no error");
    const std::string message = error_of([&] { forward(model, random_tokens(1, 9, c.vocab), true); });
    CHECK(message.find("--capacity-groups 4") != std::string::npos);
    CHECK(error_of([&] { forward(model, random_tokens(1, 9, c.vocab)); }) == "no error");  // evaluation drops nothing
  }
}

TEST_CASE("generation refuses expert choice, and says that a token would need those after it") {
  for (std::string_view kind : router_kinds) {
    INFO(kind);
    Transformer model(four(kind, usual_top_k(kind, 4)));
    CHECK(model.causal() == (kind != "expert-choice"));
    const std::string message = error_of([&] { Decoder decoder(model); });
    CHECK((message == "no error") == model.causal());
    if (!model.causal()) CHECK(message.find("router") != std::string::npos);
  }
}

TEST_CASE("token by token with the cache is the same as all at once, for every router that may") {
  for (std::string_view kind : router_kinds) {
    if (kind == "expert-choice") continue;
    INFO(kind);
    Transformer model = lively_model(four(kind, usual_top_k(kind, 4)));
    const Tensor tokens = random_tokens(1, 9, 31);
    const Numbers want = model(tokens).logits.value().rows(8, 9).values();
    Decoder decoder(model);
    std::span<const float> got;
    for (int32_t id : ints(tokens)) got = decoder.feed({&id, 1});
    CHECK(distance(Numbers(got.begin(), got.end()), want) < 1e-4);
  }
}

TEST_CASE("state is saved and loaded to the bit, and no optimizer touches it") {
  for (std::string_view kind : {"deepseek-v3", "hash"}) {
    INFO(kind);
    const Scratch scratch;
    Transformer model = lively_model(four(kind, kind == "hash" ? 1 : 2));
    for (int layer : {0, 1}) {
      const Var state = parameter(model, fmt::format("layers.{}.moe.router.{}", layer, state_of(kind)));
      Numbers numbers = normal_numbers(state.value().count(), uint64_t(layer) + 5);
      if (kind == "hash")
        for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = double((i * 7 + size_t(layer)) % 4);
      set(state, numbers);
    }
    save_model(scratch.path, model);
    Transformer loaded = load_model(scratch.path);
    CHECK(values(loaded) == values(model));
    const Tensor tokens = random_tokens(2, 20, 31);
    CHECK(same_bits(forward(loaded, tokens).logits.value(), forward(model, tokens).logits.value()));
    const std::map<std::string, Numbers> before = values(model);
    Optimizer optimizer(model, {.weight_decay = 0.5});
    for (const NamedTensor& moment : optimizer.state()) CHECK_FALSE(moment.name.ends_with(state_of(kind)));
    for (uint64_t step = 0; step < 3; ++step) {
      const ForwardResult r = forward(model, tokens, true, step);
      Var loss = mean(cross_entropy(r.logits, tokens.reshape({40})));
      for (const AuxTerm& a : r.aux) loss = add(loss, a.value);
      backward(loss);
      optimizer.step(0.1, 1);
    }
    int states = 0;
    for (const auto& [name, now] : values(model)) {
      const bool state = name.ends_with(state_of(kind));
      INFO(name);
      CHECK((now == before.at(name)) == state);
      states += state;
    }
    CHECK(states == 2);
  }
}

TEST_CASE("a run that stopped and went on ends in the same bits, whatever the router keeps") {
  for (std::string_view kind : router_kinds) {
    INFO(kind);
    const Scratch scratch;
    const std::filesystem::path file = scratch.path / "text.txt";
    std::string words;
    for (int i = 0; i < 300; ++i) words += "one two three " + std::to_string(i * i % 97) + ".\n";
    write_file(file, words);
    RunConfig run{.source = {{file}}, .out = {}};
    run.model = four(kind, usual_top_k(kind, 4)), run.model.bias_rate = 0.02, run.model.context = 16;
    run.model.hash_table = HashTable::balanced, run.model.load = 0.1;
    run.train = {.tokenizer = TokenizerKind::chars, .steps = 6, .batch = 2, .warmup = 0};
    run.train.schedule = Schedule::constant;
    const auto train = [&](const char* name, int64_t steps, bool resume) {
      run.out = scratch.path / name, run.train.steps = steps;
      Trainer trainer(run, resume);
      Report report(run.out, 0, 1, 1, 0, true);
      trainer.run(false, report);
      return values(trainer.model());
    };
    const auto whole = train("whole", 6, false), half = train("parts", 3, false), parts = train("parts", 6, true);
    CHECK(parts == whole);
    for (const auto& [name, now] : whole) {
      if (name.ends_with("router.bias")) CHECK_FALSE(now == half.at(name));
      if (name.ends_with("router.table")) CHECK(now == half.at(name));
    }
  }
}

TEST_CASE("a new run builds the balanced table from its own text") {
  const Scratch scratch;
  const std::filesystem::path file = scratch.path / "text.txt";
  std::string words;
  for (int i = 0; i < 300; ++i) words += "a rare word and a word and a " + std::to_string(i * i % 97) + ".\n";
  write_file(file, words);
  RunConfig run{.source = {{file}}, .out = scratch.path / "run"};
  run.model = four("hash", 1), run.model.hash_table = HashTable::balanced;
  run.train = {.tokenizer = TokenizerKind::chars, .steps = 1, .batch = 1};
  Trainer trainer(run, false);
  Init init(0);
  const std::unique_ptr<Router> router = make_router(trainer.config().model, init);
  router->see_text(trainer.data().occurrences());
  for (int layer : {0, 1})
    CHECK(same_bits(parameter(trainer.model(), fmt::format("layers.{}.moe.router.table", layer)).value(),
                    parameter(*router, "table").value()));
}

TEST_SUITE_END();
