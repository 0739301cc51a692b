// Training that goes on from a model: on text, on conversations, or on the built-in questions.
#include <algorithm>

#include "moe/checkpoint.h"
#include "train/command_flags.h"
#include "train/commands.h"
#include "train/corpus/tasks.h"
#include "train/freeze.h"

namespace switchyard {
namespace {

// What decides a weight's shape or what it means, and what only a new tokenizer or the corpus's text would need.
constexpr std::string_view settled[] = {
    "vocab",          "layers",           "width",        "heads",        "kv-heads",   "head-dim",  "qk-norm",
    "attention",      "query-rank",       "latent-rank",  "rope-dim",     "value-dim",  "ffn",       "activation",
    "dense-ffn",      "dense-activation", "first-dense",  "moe-every",    "norm",       "tied",      "experts",
    "shared-experts", "shared-ffn",       "shared-gate",  "router",       "hash-table", "hash-seed", "init",
    "init-scale",     "tokenizer",        "merged-vocab", "corpus-bytes", "domain"};

template <class Config>
std::vector<Field> tunable(Config& config) {
  std::vector<Field> fields = list_fields(config);
  std::erase_if(fields, [](const Field& field) {
    return std::find(std::begin(settled), std::end(settled), field.name) != std::end(settled);
  });
  return fields;
}

// Small steps, few of them: what the model knows is to stay. What it was trained on stays as it was.
RunConfig starting_point(const fs::path& model) {
  RunConfig config{.source = {}, .model = load_config(model), .train = {}, .out = {}, .start = model};
  if (fs::exists(model / "train.json")) config.train = load_run(model).train;
  TrainConfig& train = config.train;
  train.validation = 0.05, train.steps = 3000, train.batch = 12, train.accumulate = 1, train.gradient_noise = false;
  train.rate = 1.5e-3, train.final_rate = 0.1, train.warmup = 20, train.schedule = Schedule::cosine;
  train.weight_decay = 0.01;
  train.log_every = 50, train.eval_every = 500, train.eval_tokens = 20'000, train.sample_every = 500;
  train.checkpoint_every = 500;
  return config;
}

struct Material {
  std::vector<std::string> text, conversations;
  bool tasks = false;
  int64_t each = 6000;
};

// Exactly one kind of material.
void add_material(const Material& m, RunConfig& config) {
  const int kinds = !m.text.empty() + !m.conversations.empty() + m.tasks;
  check(kinds == 1, "{}: one of --data FILE…, --conversations FILE… and --tasks must say what to learn from",
        kinds == 0 ? "no text" : "several texts");
  config.source.conversations = m.text.empty();
  const std::vector<std::string>& files = m.text.empty() ? m.conversations : m.text;
  config.source.files.assign(files.begin(), files.end());
  for (const fs::path& file : config.source.files) check(fs::exists(file), "{}: no such file", file.string());
}

// The folder gets the model's tokenizer and, with --tasks, the questions. Error if there is a run in it already.
void prepare_folder(const RunConfig& config, const Material& m) {
  const fs::path tokenizer = config.start / "tokenizer.json";
  check(fs::exists(tokenizer), "{}: no such file; the model's tokens must be known", tokenizer.string());
  const TaskConfig asked{.seed = config.train.corpus_seed, .people = config.train.people, .each = m.each};
  const std::string lines = m.tasks ? task_lines(asked) : "";
  const RunFolder folder(config.out, false);
  fs::copy_file(tokenizer, config.out / "tokenizer.json", fs::copy_options::overwrite_existing);
  if (m.tasks) write_file(config.out / "tasks.jsonl", lines);
}

// Error if there is no such part, or nothing is left.
std::string what_trains(const RunConfig& config) {
  Transformer model(config.model);
  const int64_t all = trained_parameters(model), left = trained_parameters(frozen(model, config.freeze));
  const std::string parts = config.freeze.empty() ? "none" : fmt::format("{}", fmt::join(config.freeze, ", "));
  return fmt::format("tunes {} of {} parameters; frozen: {}", left, all,
                     config.model.adapters.any() ? "all but the adapters" : parts);
}

}  // namespace

int run_finetune(int argc, char** argv) {
  const auto given = [&](std::string_view flag) { return std::find(argv, argv + argc, flag) != argv + argc; };
  if (given("--resume")) {  // the folder says what it was
    for (const char* flag : {"--model", "--data", "--conversations", "--tasks", "--questions", "--freeze"})
      check(!given(flag), "{}: must not stand beside --resume, which goes on as the run began", flag);
    return run_train(argc, argv, false);
  }
  const std::string model = early_flag(argc, argv, "--model").value_or("");
  check(!model.empty() || given("--help"), "--model: is missing; must be a model's folder");
  RunConfig config = model.empty() ? RunConfig{} : starting_point(model);
  CLI::App app("Trains a model further: on text, on conversations (of which the answers are learnt), or on questions.");
  Common common;
  Material material;
  std::string same_model, out;
  bool resumed = false;
  Where place;
  Shown shown;
  add_text_flag(app, "--model", same_model, "the model's folder: trained here, or in Hugging Face's layout");
  add_text_flag(app, "--out", out, "the new run's folder")->required();
  app.add_option("--data", material.text, "text files, UTF-8 or binary");
  app.add_option("--conversations", material.conversations,
                 R"(files of JSON lines: {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]})");
  app.add_flag("--tasks", material.tasks, "the built-in questions: people, sums, timetables; eval --tasks marks them");
  app.add_option("--questions", material.each, "--tasks: questions of each kind (default 6000)");
  app.add_option("--freeze", config.freeze, "leave as they are: router, experts, attention, mlp, norms, embedding")
      ->delimiter(',');
  app.add_flag("--resume", resumed, "go on with the run in --out from its last checkpoint; nothing else is needed");
  add_common(app, common);
  add_flags(app, place);
  add_flags(app, shown);
  add_flags(app, tunable(config.model));
  add_flags(app, tunable(config.train));
  parse_flags(app, argc, argv);
  apply(common);
  config.device = placed(place.device), config.out = out;
  validate(config.model);
  check(material.tasks || app.count("--questions") == 0, "--questions: must stand beside --tasks, which asks them");
  check(!load_config(model).adapters.any(), "--model {}: has adapters already; ./run export makes them part of it",
        model);
  check(!config.model.adapters.any() || config.freeze.empty(),
        "--freeze: with --adapters everything else is frozen already");
  add_material(material, config);
  const std::string trains = what_trains(config);
  prepare_folder(config, material);
  if (!common.json) fmt::print("{}\n", trains);
  if (material.tasks) config.source.files = {config.out / "tasks.jsonl"};
  if (config.model.adapters.any() ||
      std::find(config.freeze.begin(), config.freeze.end(), "router") != config.freeze.end())
    config.model.bias_rate = 0;  // the bias of deepseek-v3 moves without a gradient
  return train_model(std::move(config), {.json = common.json, .view = shown.view});
}

}  // namespace switchyard
