// switchyard-train: everything that needs a corpus. `./run help` lists the commands.
#include "moe/checkpoint.h"
#include "train/command_flags.h"
#include "train/commands.h"

namespace switchyard {
namespace {

int eval(int argc, char** argv) {
  CLI::App app("Measures a model: cross-entropy, perplexity, bits per byte, and the distance to the floor.");
  Common common;
  EvalCommand command;
  std::vector<std::string> data, conversations;
  std::string model;
  add_text_flag(app, "--model", model, "the model's folder")->required();
  app.add_option("--data", data, "text files; default: what the model was trained on, the part kept for validation");
  app.add_option("--conversations", conversations, "files of conversations instead, of which answers are predicted");
  app.add_flag("--corpus", command.corpus, "the built-in corpus, which a model knew before ./run finetune");
  app.add_flag("--tasks", command.tasks, "mark the model's answers to the built-in questions that were held out");
  app.add_flag("--trained", command.trained, "--tasks: those that ./run finetune --tasks trains on instead");
  app.add_option("--questions", command.questions, "--tasks: how many of each kind (default 100)");
  app.add_option("--people", command.people, "people in the built-in corpus; default: as in the run, or 200");
  app.add_option("--corpus-seed", command.corpus_seed, "which built-in corpus; default: the run's, or 1");
  app.add_option("--seed", command.seed, "which documents of the built-in corpus it reads");
  app.add_option("--tokens", command.tokens, "most tokens to predict; default: 200000, or all of --data");
  Placement place;
  add_common(app, common);
  add_flags(app, place);
  parse_flags(app, argc, argv);
  apply(common);
  command.device = placed(place.device), command.dtype = dtype_of(place.compute);
  command.model = model;
  check(command.tokens >= 0, "--tokens {}: must be 1 or more", command.tokens);
  check(data.empty() || conversations.empty(), "--conversations: must not stand beside --data");
  check(!command.tasks || (data.empty() && conversations.empty() && !command.corpus),
        "--tasks: must stand without --data, --conversations and --corpus");
  check(!command.corpus || (data.empty() && conversations.empty()), "--corpus: must not stand beside files");
  command.conversations = !conversations.empty();
  data.insert(data.end(), conversations.begin(), conversations.end());
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
  app.add_option("--tasks", command.tasks, "print so many questions of each kind instead, as conversations");
  app.add_flag("--held-out", command.held_out, "--tasks: questions that finetune --tasks does not train on");
  add_text_flag(app, "--out", out, "write FILE with the text and FILE.domains.jsonl with each document's domain");
  add_common(app, common);
  parse_flags(app, argc, argv);
  check_output(out);
  command.out = out;
  command.json = common.json;
  command.people = config.people, command.seed = config.corpus_seed;
  return run_corpus(command);
}

int demo(int argc, char** argv) { return run_train(argc, argv, true); }
int train(int argc, char** argv) { return run_train(argc, argv, false); }

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
};
constexpr Command commands[] = {
    {"train", train},
    {"demo", demo},
    {"finetune", run_finetune},
    {"eval", eval},
    {"export", run_export},
    {"inspect", inspect},
    {"route", route},
    {"tokenize", tokenize},
    {"corpus", corpus},
    {"report", run_report},
    {"doctor", run_doctor},
    {"replay", run_replay},
    {"reproduce", run_reproduce},
    {"sweep", run_sweep},
    {"find-rate", run_find_rate},
    {"distill", run_distill},
    {"upcycle", run_upcycle},
};

int program(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  const bool help = wanted == "--help" || wanted == "-h";
  std::string names;
  for (const Command& command : commands) {
    if (wanted == command.name) return command.run(argc - 1, argv + 1);  // the command takes the program's place
    names += (names.empty() ? "" : &command == std::end(commands) - 1 ? " or " : ", ") + std::string(command.name);
  }
  if (help) {
    fmt::print("Usage: switchyard-train COMMAND …, where COMMAND is {}; COMMAND --help says more\n", names);
    return 0;
  }
  fail("command {}: must be {}", wanted.empty() ? "(none)" : wanted, names);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) { return switchyard::run_program(argc, argv, switchyard::program); }
