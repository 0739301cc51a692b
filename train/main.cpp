// switchyard-train: everything that needs a corpus. `./run help` lists the commands.
#include <csignal>

#include "infer/flags.h"
#include "moe/checkpoint.h"
#include "train/commands.h"

namespace switchyard {
namespace {

std::atomic<bool> stop{false};

void on_interrupt(int) {
  if (stop.exchange(true)) std::_Exit(130);  // a second Ctrl-C does not wait for the step to end
}

// What becomes true when the user wants the command to save and end.
const std::atomic<bool>& interruptible() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  return stop;
}

// What every command takes.
struct Common {
  int threads = 0;
  bool pin = false, json = false;
};
void add_common(CLI::App& app, Common& common) {
  app.add_option("--threads", common.threads, "CPU threads; default: all that this process may use");
  app.add_flag("--pin", common.pin, "tie each thread to a CPU of its own: for a machine that runs nothing else");
  app.add_flag("--json", common.json, "print one line of JSON at the end, and nothing else on standard output");
}
void apply(const Common& common) {
  if (common.threads != 0) set_threads(common.threads);
  if (common.pin) pin_threads(true);
}

// The folder and, unless it is a run to resume, the preset that flags then change.
RunConfig starting_point(int argc, char** argv, bool resume, std::string_view default_preset) {
  const std::optional<std::string> out = early_flag(argc, argv, "--out");
  if (resume) {
    check(out.has_value(), "--resume: needs --out DIR, the folder of the run");
    return load_run(*out);
  }
  const Preset& preset = find_preset(early_flag(argc, argv, "--preset").value_or(std::string(default_preset)));
  return {.source = {},
          .model = preset.model,
          .train = preset.train,
          .out = out.value_or(fmt::format("runs/{}", preset.name))};
}

int train(int argc, char** argv, bool demo) {
  const bool resume = std::any_of(argv, argv + argc, [](const char* a) { return std::string_view(a) == "--resume"; });
  RunConfig config = starting_point(argc, argv, resume, "demo");
  CLI::App app(demo ? "Trains a small mixture of experts on the built-in corpus and lets it write."
                    : "Trains a model on the built-in corpus, or on --data FILE…, and keeps it in --out DIR.");
  Common common;
  std::string preset, out;
  std::vector<std::string> data;
  bool dense = false, resumed = false;
  add_text_flag(app, "--preset", preset, "where the flags below start from");
  add_text_flag(app, "--out", out, "the run's folder");
  app.add_option("--data", data, "text files, UTF-8 or binary; default: the built-in corpus");
  app.add_flag("--dense-twin", dense, "train the dense model with the same active parameters instead");
  app.add_flag("--resume", resumed, "go on with the run in --out from its last checkpoint");
  Where place;
  add_common(app, common);
  add_flags(app, place);
  add_flags(app, config.model);
  add_flags(app, config.train);
  parse_flags(app, argc, argv);
  apply(common);
  config.device = placed(place.device);
  if (dense) config.model = dense_twin(config.model);
  if (!data.empty()) config.source.files.assign(data.begin(), data.end());
  if (demo && !resume && out.empty()) fs::remove_all(config.out);  // the demo's own folder starts anew
  validate(config.model);
  return run_training(std::move(config), resume, interruptible(), common.json, demo);
}

int eval(int argc, char** argv) {
  CLI::App app("Measures a model: cross-entropy, perplexity, bits per byte, and the distance to the floor.");
  Common common;
  EvalCommand command;
  std::vector<std::string> data;
  std::string model;
  add_text_flag(app, "--model", model, "the model's folder")->required();
  app.add_option("--data", data, "text files; default: what the model was trained on, the part kept for validation");
  app.add_option("--seed", command.seed, "which documents of the built-in corpus it reads");
  app.add_option("--tokens", command.tokens, "most tokens to predict; default: 200000, or all of --data");
  Placement place;
  add_common(app, common);
  add_flags(app, place);
  parse_flags(app, argc, argv);
  apply(common);
  command.device = placed(place.device), command.dtype = dtype_of(place.compute);
  command.model = model;
  command.files.assign(data.begin(), data.end());
  command.json = common.json;
  return run_eval(command);
}

int inspect(int argc, char** argv) {
  CLI::App app(
      "Prints what a preset, a published or a trained model is made of, what it costs beside dense models, and which "
      "experts serve what.");
  Common common;
  std::string what;
  uint64_t seed = 0;
  app.add_option("--seed", seed, "which documents of the built-in corpus it reads");
  app.add_option("what", what, "a preset, a published model or a model's folder; default: lists those that have names");
  add_common(app, common);
  parse_flags(app, argc, argv);
  apply(common);
  return run_inspect(what, seed, common.json);
}

int route(int argc, char** argv) {
  RouteCommand command = route_setting(early_flag(argc, argv, "--router").value_or("topk"));
  CLI::App app(
      "Shows what a router does with given logits: choices, gates, drops, balance losses and their gradients.");
  app.footer(route_help());
  Common common;
  std::string router, logits, bias;
  add_text_flag(app, "--router", router, "the router, or a paper; both are listed below (default topk)");
  add_text_flag(app, "--logits", logits, R"(a JSON file: {"logits": a row of numbers for each token}; see below)")
      ->required();
  add_text_flag(app, "--bias", bias, "a JSON file: a number for each expert, which deepseek-v3 adds to its scores");
  add_common(app, common);
  add_flags(app, command);
  add_flags(app, routing_fields(command.config));
  parse_flags(app, argc, argv);
  apply(common);
  command.logits = logits, command.bias = bias, command.json = common.json;
  return run_route(command);
}

int tokenize(int argc, char** argv) {
  CLI::App app("Shows how a tokenizer cuts a text.");
  Common common;
  TokenizeCommand command;
  std::string tokenizer, file, learn_file;
  add_text_flag(app, "--tokenizer", tokenizer, "a tokenizer.json or a model's folder; default: bytes");
  add_text_flag(app, "--learn", command.learn, "train a byte-level BPE on this text instead");
  add_text_flag(app, "--learn-file", learn_file, "train it on a file's text");
  app.add_option("--vocab", command.vocab, "vocabulary to learn");
  app.add_flag("--merges", command.merges, "print the merges, in the order learnt, before the rest");
  add_text_flag(app, "--text", command.text, "the text");
  add_text_flag(app, "--file", file, "a file with the text; its ids are printed a line of text each");
  app.add_flag("--count", command.count, "print the number of tokens only");
  add_common(app, common);
  parse_flags(app, argc, argv);
  if (!learn_file.empty()) command.learn = read_file(learn_file);
  command.tokenizer = tokenizer;
  command.file = file;
  command.json = common.json;
  return run_tokenize(command);
}

int corpus(int argc, char** argv) {
  CLI::App app("Prints the built-in corpus, or measures it.");
  Common common;
  CorpusCommand command;
  std::string out;
  TrainConfig config;
  app.add_option("--documents", command.documents, "how many documents");
  app.add_option("--first", command.first, "index of the first document");
  app.add_option("--people", config.people, "people in the biographies");
  app.add_option("--seed,--corpus-seed", config.corpus_seed, "which corpus");
  add_text_flag(app, "--domain", command.domain, "only this domain");
  app.add_flag("--measure", command.measure, "print each domain's size and floor instead of the text");
  add_text_flag(app, "--out", out, "write FILE with the text and FILE.domains.jsonl with each document's domain");
  add_common(app, common);
  parse_flags(app, argc, argv);
  command.out = out;
  command.json = common.json;
  command.people = config.people, command.seed = config.corpus_seed;
  return run_corpus(command);
}

int program(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  argc -= 1, argv += 1;  // the command takes the program's place
  if (command == "train") return train(argc, argv, false);
  if (command == "demo") return train(argc, argv, true);
  if (command == "eval") return eval(argc, argv);
  if (command == "inspect") return inspect(argc, argv);
  if (command == "route") return route(argc, argv);
  if (command == "tokenize") return tokenize(argc, argv);
  if (command == "corpus") return corpus(argc, argv);
  if (command == "reproduce") return run_reproduce(argc, argv, interruptible());
  fail("command {}: must be train, demo, eval, inspect, route, tokenize, corpus or reproduce",
       command.empty() ? "(none)" : command);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) { return switchyard::run_program(argc, argv, switchyard::program); }
