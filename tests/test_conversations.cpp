// Conversations as training data: what is read, what is learnt, and what is refused.
#include "tests/gradients.h"
#include "tests/moe_models.h"
#include "train/conversations.h"
#include "train/freeze.h"
#include "train/trainer.h"

using namespace switchyard;
using namespace switchyard::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* two_turns =
    R"({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": " hi\n"},
{"role": "assistant", "content": "yo"}, {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "it\nis 2"}]})";

// Line ends within an object are only for the eye.
std::string a_line(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '\n'), text.end());
  return text + "\n";
}

std::string asks(const std::string& question, const std::string& answer) {
  return json_line({{Role::user, question}, {Role::assistant, answer}}) + "\n";
}

const TrainConfig in_bytes{.tokenizer = TokenizerKind::bytes, .validation = 0};

// The conversations of `lines` as a dataset in `dir`, a token a byte.
Dataset dataset(const fs::path& dir, const std::string& lines, int64_t context, TrainConfig config = in_bytes) {
  write_file(dir / "chat.jsonl", lines);
  return Dataset({{dir / "chat.jsonl"}, true}, config, context, dir);
}

constexpr char end = '#';  // stands for the end token in the tests' texts, -1 stands for what is not learnt

std::string text_of(const Tensor& ids, const Tokenizer& tokenizer) {
  std::string text;
  for (int32_t id : ints(ids)) text += id < 0 ? "_" : id == tokenizer.end_id() ? "#" : tokenizer.bytes_of(id);
  return text;
}

RunConfig tiny_run(const fs::path& dir) {
  std::string lines;
  for (int i = 0; i < 60; ++i) lines += asks(fmt::format("{}?", i), std::to_string(i * i));
  write_file(dir / "squares.jsonl", lines);
  ModelConfig model = tiny();
  model.expert_dropout = 0.2;
  TrainConfig train{.tokenizer = TokenizerKind::bytes, .steps = 6, .batch = 3, .eval_tokens = 200};
  train.warmup = 1, train.sample_every = 3;
  return {.source = {{dir / "squares.jsonl"}, true}, .model = model, .train = train, .out = dir / "run"};
}

// Trains, or with `passes` stops after so many.
void train(RunConfig config, bool resume, int passes = -1) {
  std::atomic<bool> stop{false};
  config.beside = [&, made = 0](const Batch&, const Var&) mutable {
    if (++made == passes) stop = true;
    return AuxTerm{"nothing", Var(Tensor::zeros({1}, Dtype::f32)), 0};
  };
  Trainer trainer(config, resume);
  Report report(config.out, trainer.steps_done(), config.train.steps, 1, 0, true);
  trainer.run(stop, report);
}

}  // namespace

TEST_SUITE_BEGIN("conversations");

TEST_CASE("token by token: answers and the ends that close them are learnt, nothing else") {
  const Scratch dir;
  const Dataset data = dataset(dir.path, a_line(two_turns), 128);
  const std::string read = "System: be brief\nUser: hi\nAssistant: yo#User: 1+1?\nAssistant: it\nis 2#";
  //   learnt one step on: from " yo" to its end, and from " it" to its end
  const std::string learnt = "____________________________________ yo#_____________________ it\nis 2#";
  REQUIRE(read.size() == learnt.size());
  const Batch batch = data.batch(0, 2, 80, 1);
  const std::string rest(80 - read.size(), end);
  const std::string row = read + rest, targets = learnt.substr(1) + std::string(80 - learnt.size() + 1, '_');
  CHECK(text_of(batch.tokens, data.tokenizer()) == row + row);
  CHECK(text_of(batch.targets, data.tokenizer()) == targets + targets);
  CHECK(batch.learnt == 2 * (4 + 9));
}

TEST_CASE("no gradient comes back from what is not learnt, and the loss is the mean of what is") {
  const Scratch dir;
  const Batch batch = dataset(dir.path, a_line(two_turns), 128).batch(0, 1, 70, 1);
  const Var logits = normal_leaf({70, 257}, 3);
  const Var each = cross_entropy(logits, batch.targets);
  const Var loss = scale(sum(each), 1 / double(batch.learnt));
  const Numbers losses = each.value().values();
  backward(loss);
  const Numbers g = gradient(logits);
  const Ints target = ints(batch.targets);
  double total = 0;
  for (size_t t = 0; t < target.size(); ++t) {
    const Numbers row(g.begin() + int64_t(257 * t), g.begin() + int64_t(257 * (t + 1)));
    CHECK((largest(row) == 0) == (target[t] < 0));
    if (target[t] >= 0) total += losses[t];
  }
  CHECK(loss.value().item() == doctest::Approx(total / 13).epsilon(1e-12));
}

TEST_CASE("windows begin at a conversation, and those of the validation part hold each one whole and once") {
  const Scratch dir;
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += asks(std::string(size_t(1 + i % 7), 'q'), std::to_string(1000 + i));
  TrainConfig config = in_bytes;
  config.validation = 0.4;
  const int64_t T = 64;
  const Dataset data = dataset(dir.path, lines, T, config);
  for (int64_t pass = 0; pass < 5; ++pass) {
    const std::string rows = text_of(data.batch(pass, 4, T, 9).tokens, data.tokenizer());
    for (size_t b = 0; b < 4; ++b) CHECK(rows.substr(b * size_t(T), 7) == "User: q");
  }
  std::string answers;
  for (int64_t w = 0; w < data.validation_windows(T); ++w) {
    const Batch window = data.validation_batch(w, 1, T);
    CHECK(text_of(window.tokens, data.tokenizer()).substr(0, 7) == "User: q");
    answers += text_of(window.targets, data.tokenizer());
  }
  std::erase(answers, '_');
  std::string expected;
  const int64_t first = 40 - int64_t(answers.size()) / 6;  // " 1000#" is six
  for (int64_t i = first; i < 40; ++i) expected += fmt::format(" {}#", 1000 + i);
  CHECK(answers == expected);
  CHECK((first > 20 && first < 28));  // 0.6 of 40, by bytes
  CHECK(data.prompt(0) == fmt::format("User: {}\nAssistant:", std::string(size_t(1 + first % 7), 'q')));
  CHECK(data.prompt(40 - first) == data.prompt(0));
  const Batch behind = data.validation_batch(data.validation_windows(T), 1, T);
  CHECK(behind.learnt == 0);
}

TEST_CASE("what a model is asked with is what it was trained on, in every tokenizer's tokens") {
  const std::string text = "What is 17 plus 25? Assistant: User: Kestrel";
  const Tokenizer bpe = Tokenizer::train_bpe("User: What is 17 plus 25?\nAssistant: 42 Kestrel. Kestrel.", 290);
  for (const Tokenizer& t : {Tokenizer::bytes(), Tokenizer::train_chars(text + "\n42"), bpe}) {
    const std::vector<Piece> pieces = pieces_of({{Role::user, "What is 17 plus 25?"}, {Role::assistant, "42"}});
    REQUIRE(pieces.size() == 2);
    CHECK(pieces[0].text == prompt_for("What is 17 plus 25?"));
    std::vector<int32_t> apart = t.encode(pieces[0].text);
    t.encode(pieces[1].text, apart);
    CHECK(apart == t.encode("User: What is 17 plus 25?\nAssistant: 42"));
  }
  CHECK(answer_in(" 42\n") == "42");
}

TEST_CASE("a bad line is named with its file") {
  const Scratch dir;
  const fs::path file = dir.path / "chat.jsonl";
  const auto error = [&](const std::string& line) {
    write_file(file, asks("a", "b") + "\n" + line + "\n" + asks("c", "d"));
    return error_of([&] { each_conversation(file, [](const Conversation&) { return true; }); });
  };
  const auto messages = [](const std::string& list) { return "{\"messages\": [" + list + "]}"; };
  const std::string user = R"({"role": "user", "content": "x"})", answer = R"({"role": "assistant", "content": "y"})",
                    system = R"({"role": "system", "content": "z"})";
  CHECK(error(messages(system + "," + user + "," + answer + "," + user + "," + answer)) == "no error");
  for (const auto& [line, what] : std::vector<std::pair<std::string, std::string>>{
           {"{\"messages\": [", "not JSON"},
           {"[]", "must be {\"messages\""},
           {"{\"message\": []}", "must be {\"messages\""},
           {messages(""), "must end with an assistant's"},
           {messages(user), "must end with an assistant's"},
           {messages(answer), "message 1: assistant: out of turn"},
           {messages(user + "," + user), "message 2: user: out of turn"},
           {messages(user + "," + system), "message 2: system: out of turn"},
           {messages(user + "," + answer + "," + answer), "message 3: assistant: out of turn"},
           {messages("3"), "a message must be"},
           {messages(R"({"content": "x"})"), "no \"role\""},
           {messages(R"({"role": "human", "content": "x"})"), "\"human\": must be system, user or assistant"},
           {messages(R"({"role": "user", "content": 3})"), "message 1: \"content\" must be a text"},
           {messages(R"({"role": "user"})"), "message 1: \"content\" must be a text"},
           {messages(R"({"role": "user", "content": " \n"})"), "message 1: \"content\" is empty"}}) {
    const std::string said = error(line);
    CAPTURE(said);
    CHECK(said.find(file.string() + ":3: ") == 0);
    CHECK(said.find(what) != std::string::npos);
  }
}

TEST_CASE("conversations that break off leave no tokens behind") {
  const Scratch dir;
  CHECK(error_of([&] { dataset(dir.path, asks("a", "b") + "{", 64); }).find("not JSON") != std::string::npos);
  for (const auto& file : std::filesystem::directory_iterator(dir.path))
    CHECK(file.path().filename().string().find("tokens-") == std::string::npos);
}

TEST_CASE("too long a conversation, and too few of them, are refused") {
  const Scratch dir;
  const auto error = [&](const std::string& lines, int64_t context, double validation) {
    TrainConfig config = in_bytes;
    config.validation = validation;
    return error_of([&] { dataset(dir.path, lines, context, config); });
  };
  const std::string one = asks("a", "b");  // "User: a\nAssistant: b#", 21 tokens
  CHECK(error(one + one, 20, 0) == "no error");
  const std::string said = error(one + asks("aa", "b"), 20, 0);
  CHECK(said.find("conversation 2: 22 tokens") == 0);
  CHECK(error(one, 64, 0.5).find("none is left for training") != std::string::npos);
  CHECK(error("\n", 64, 0).find("none is left for training") != std::string::npos);
  CHECK(error(one + one, 64, 0.01).find("validation") != std::string::npos);
}

TEST_CASE("a stopped run on conversations goes on to the same bits, frozen parts and all") {
  const Scratch whole, parts;
  const std::vector<std::string> freeze{"router", "norms"};
  RunConfig undisturbed = tiny_run(whole.path), stopped = tiny_run(parts.path);
  undisturbed.freeze = stopped.freeze = freeze;
  train(undisturbed, false);
  train(stopped, false, 3);
  const RunConfig kept = load_run(stopped.out);
  CHECK(kept.source.conversations);
  CHECK(kept.freeze == freeze);
  train(kept, true);
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "tokenizer_config.json"}) {
    CAPTURE(file);
    CHECK(read_file(undisturbed.out / file) == read_file(stopped.out / file));
  }
  CHECK(read_file(stopped.out / "tokenizer_config.json").find("chat_template") != std::string::npos);
}

TEST_CASE("frozen parts keep every bit, and the others move") {
  const Scratch dir;
  const RunConfig run = tiny_run(dir.path);
  ModelConfig deepseek = run.model;
  deepseek.router = "deepseek-v3", deepseek.gate_norm = GateNorm::none, deepseek.bias_rate = 0;
  deepseek.shared_experts = 1, deepseek.first_dense = 1, deepseek.layers = 3, deepseek.qk_norm = QkNorm::head;
  const std::pair<const char*, std::vector<const char*>> parts[] = {
      {"router", {".router"}}, {"experts", {".experts", ".shared"}}, {"attention", {".attention."}},
      {"mlp", {".mlp."}},      {"norms", {"norm.weight"}},           {"embedding", {"embedding", "head"}}};
  for (const auto& [part, names] : parts) {
    CAPTURE(part);
    RunConfig config = run;
    config.model = deepseek, config.freeze = {part}, config.out = dir.path / part;
    Trainer trainer(config, false);
    std::vector<std::pair<std::string, Numbers>> before;
    trainer.model().visit([&](const std::string& name, Var& p) { before.emplace_back(name, p.value().values()); });
    Report report(config.out, 0, config.train.steps, 1, 0, true);
    const std::atomic<bool> stop{false};
    trainer.run(stop, report);
    size_t i = 0, kept = 0;
    trainer.model().visit([&](const std::string& name, Var& p) {
      CAPTURE(name);
      const bool frozen =
          std::any_of(names.begin(), names.end(), [&](const char* n) { return name.find(n) != std::string::npos; });
      const bool still = name.ends_with(".router.bias");  // moves by its own rule, whose rate is 0 here
      CHECK((p.value().values() == before[i++].second) == (frozen || still));
      kept += frozen;
    });
    CHECK(kept > 0);
  }
}

TEST_CASE("what cannot be frozen is refused") {
  Transformer model(tiny());
  CHECK(error_of([&] { frozen(model, {"routers"}); }) ==
        "--freeze routers: must be router, experts, attention, mlp, norms or embedding");
  CHECK(error_of([&] { frozen(model, {"mlp"}); }) == "--freeze mlp: this model has no such part");
  const int64_t all = trained_parameters(model);
  CHECK(trained_parameters(frozen(model, {"router"})) == all - 2 * 4 * 16);
  CHECK(error_of([&] {
          frozen(model, {"experts", "attention", "norms", "embedding"});
        }) == "--freeze: nothing is left to train");
}

TEST_SUITE_END();
