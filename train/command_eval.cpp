#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "moe/checkpoint.h"
#include "train/commands.h"

namespace switchyard {
namespace {

// Evaluates on files: all of them, encoded with the model's own tokenizer in a folder that is removed afterwards.
Evaluation evaluate_files(Transformer& model, const EvalCommand& command, RunConfig run) {
  const int64_t most = command.tokens ? command.tokens : std::numeric_limits<int64_t>::max();
  if (command.files.empty()) {  // what the model was trained on: its own tokens are there already
    const Dataset data(run.source, run.train, model.config().context, command.model);
    return evaluate_windows(model, data, most);
  }
  const fs::path dir = fs::temp_directory_path() / fmt::format("switchyard-eval-{}", ::getpid());
  fs::create_directories(dir);
  fs::copy_file(command.model / "tokenizer.json", dir / "tokenizer.json", fs::copy_options::overwrite_existing);
  run.train.validation = 1;  // all of it
  Evaluation evaluation;
  try {
    const Dataset data({command.files, command.conversations}, run.train, model.config().context, dir);
    evaluation = evaluate_windows(model, data, most);
  } catch (...) {
    fs::remove_all(dir);
    throw;
  }
  fs::remove_all(dir);
  return evaluation;
}

void print_domains(const Evaluation& e) {
  fmt::print("\n{:<14}{:>10}{:>16}{:>16}{:>16}\n", "domain", "bytes", "nats per byte", "floor", "above floor");
  for (size_t d = 0; d < e.domain.size(); ++d) {
    const Measured& m = e.domain[d];
    if (m.bytes == 0) {
      fmt::print("{:<14}{:>10}{:>16}\n", name(static_cast<Domain>(d)), 0, "not read");
      continue;
    }
    fmt::print("{:<14}{:>10}{:>16.4f}{:>16.4f}{:>+16.4f}\n", name(static_cast<Domain>(d)), m.bytes, m.nats_per_byte(),
               m.floor_nats_per_byte(), m.above_floor());
  }
  fmt::print("{:<14}{:>10}{:>16.4f}{:>16.4f}{:>+16.4f}\n", "all", e.all.bytes, e.all.nats_per_byte(),
             e.all.floor_nats_per_byte(), e.all.above_floor());
}

nlohmann::json as_json(const Evaluation& e) {
  nlohmann::json json{{"loss", e.all.loss()},
                      {"perplexity", std::exp(e.all.loss())},
                      {"bits_per_byte", e.all.bits_per_byte()},
                      {"tokens", e.all.tokens},
                      {"bytes", e.all.bytes},
                      {"floor_bits_per_byte", nullptr}};
  if (e.all.floor_bits == 0) return json;
  json["floor_bits_per_byte"] = e.all.floor_bits / double(e.all.bytes);
  for (size_t d = 0; d < e.domain.size(); ++d)
    if (e.domain[d].bytes > 0)
      json["domains"][name(static_cast<Domain>(d))] = {{"nats_per_byte", e.domain[d].nats_per_byte()},
                                                       {"floor_nats_per_byte", e.domain[d].floor_nats_per_byte()}};
  return json;
}

}  // namespace

int run_eval(const EvalCommand& command) {
  if (command.tasks) return run_mark(command);
  Transformer model = load_model(command.model, command.dtype, command.device);
  RunConfig run;
  if (fs::exists(command.model / "train.json")) run = load_run(command.model);
  if (command.corpus) run.source = {};
  run.train.people = command.people.value_or(run.train.people);
  run.train.corpus_seed = command.corpus_seed.value_or(run.train.corpus_seed);
  const bool built_in = command.files.empty() && run.source.built_in();
  const Evaluation e = built_in ? evaluate_documents(model, Tokenizer::load(command.model / "tokenizer.json"),
                                                     built_in_corpus(run.train), validation_document(command.seed),
                                                     command.tokens ? command.tokens : 200'000)
                                : evaluate_files(model, command, run);
  check(e.all.tokens > 0, "{}: no token to predict; must be a longer text",
        command.files.empty() ? command.model.string() : command.files[0].string());
  check(std::isfinite(e.all.loss()), "{}: the loss is no number, nor are all of its weights", command.model.string());
  if (command.json) {
    fmt::print("{}\n", as_json(e).dump());
    return 0;
  }
  fmt::print("{} tokens, {} bytes of {}\n", e.all.tokens, e.all.bytes,
             command.files.empty() ? "text that the model was not trained on" : "the text given");
  fmt::print("cross-entropy  {:.4f} nats per token\nperplexity     {:.3f}\nbits per byte  {:.4f}\n", e.all.loss(),
             std::exp(e.all.loss()), e.all.bits_per_byte());
  if (built_in) print_domains(e);
  return 0;
}

}  // namespace switchyard
