#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/machine.h"
#include "tensor/storage.h"
#include "train/command_flags.h"
#include "train/commands.h"
#include "train/forecast.h"

namespace switchyard {
namespace {

constexpr int64_t worth_a_forecast = 30;  // steps; it takes the time of about six

// Nats per byte that the built-in corpus costs at least; 0 for other text.
double corpus_floor(const RunConfig& config) {
  if (!config.source.built_in()) return 0;
  CorpusTotals all;
  for (const CorpusTotals& t : built_in_corpus(config.train).measure(first_validation_document, 2000))
    all.bits += t.bits, all.bytes += t.bytes;
  return all.bits * 0.6931471805599453 / double(all.bytes);
}

void say_what_next(const Report& report, const std::string& out, const Source& source, bool demo) {
  fmt::print("saved to {}/ ({:.0f} tokens/s in training)\n\n", out, report.tokens_per_second());
  if (source.conversations) {
    fmt::print("Try next:\n  ./run generate --model {} --temperature 0 --prompt $'{}'\n", out,
               "User: What is 17 plus 25?\\nAssistant:");
    fmt::print("  ./run eval --model {} --tasks   which of the built-in questions it answers\n", out);
    return;
  }
  fmt::print("Try next:\n  ./run generate --model {} --prompt \"Once\" --temperature 0.7\n", out);
  fmt::print("  ./run inspect {}        which experts serve which domains\n", out);
  fmt::print(
      "  ./run eval --model {}   {}\n", out,
      source.built_in() ? "how far from the floor, domain by domain" : "how surprised it is by the part held out");
  if (demo) fmt::print("  ./run train --data YOUR.txt --out runs/mine --steps 1000   a text of your own\n");
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

// Bytes beside each weight that training takes at the least: a gradient, and the optimizer's moments. Of a model with
// frozen parts nobody knows before it is made.
int64_t least_state(const RunConfig& config) {
  return !config.freeze.empty() ? 0 : config.train.optimizer == OptimizerKind::muon ? 8 : 12;
}

// What cannot change once a run has begun: its text, and what is kept beside the weights.
constexpr std::string_view settled[] = {"tokenizer", "merged-vocab", "validation",   "corpus-bytes",
                                        "people",    "corpus-seed",  "domain",       "optimizer",
                                        "average",   "adapters",     "adapter-rank", "adapter-alpha"};

void check_settled(RunConfig begun, RunConfig now) {
  const auto compare = [&](const std::vector<Field>& before, const std::vector<Field>& after) {
    for (size_t i = 0; i < before.size(); ++i) {
      const bool fixed = std::find(std::begin(settled), std::end(settled), before[i].name) != std::end(settled);
      check(!fixed || before[i].get() == after[i].get(), "--{} {}: the run began with {}; --resume cannot change it",
            before[i].name, value_text(after[i].get()), value_text(before[i].get()));
    }
  };
  compare(list_fields(begun.model), list_fields(now.model));
  compare(list_fields(begun.train), list_fields(now.train));
}

}  // namespace

std::string resume_command(const RunConfig& config) {
  return fmt::format("./run train --resume --out {}{}", config.out.string(),
                     config.device == Device::cuda ? " --device cuda" : "");
}

int train_model(RunConfig config, const TrainOptions& options) {
  const auto [resume, json, demo, view] = options;
  const double floor = corpus_floor(config);
  const std::string out = config.out.string();
  const int64_t steps = config.train.steps;
  if (!resume) check_trainable(config);
  check_state_fits(config.model, config.device, least_state(config));
  if (!resume && config.start.empty() && !config.teacher) {
    const RunFolder folder(config.out, false);
    fs::remove(config.out / "tokenizer.json");  // of a start that came to no checkpoint, perhaps of another text
  }
  if (!json && !resume) fmt::print("reading the text and making its tokens\n");
  Trainer trainer(std::move(config), resume);
  check(trainer.steps_done() <= steps, "--steps {}: {} has done {} already; must be no fewer", steps, out,
        trainer.steps_done());
  Report report(out, trainer.steps_done(), steps, trainer.data().bytes_per_token(), floor,
                json ? ViewKind::none : view);
  report.start(trainer.config().model, trainer.config().train, trainer.data().train_tokens(),
               trainer.data().validation_tokens(), measure_flops());
  if (steps - trainer.steps_done() >= worth_a_forecast) {
    const Forecast f = forecast(trainer);
    report.note(text(f, steps - trainer.steps_done()));
    report.forecast(f.memory, f.seconds);
  }
  const Evaluation evaluation = trainer.run(interruptible(), report);
  report.cost(trainer.config().device == Device::cpu ? memory_peak()
                                                     : pool_stats(trainer.config().device).bytes_pooled);
  report.end_view();
  if (trainer.steps_done() < steps)
    fmt::print(stderr, "stopped and saved at step {}; to go on: {}\n", trainer.steps_done(),
               resume_command(trainer.config()));
  const ParameterCount n = count_parameters(trainer.config().model);
  if (json) {
    const nlohmann::json result{{"steps", trainer.steps_done()},
                                {"train_loss", report.last_loss()},
                                {"val_loss", evaluation.all.loss()},
                                {"tokens_per_second", report.tokens_per_second()},
                                {"parameters", n.total},
                                {"active_parameters", n.active},
                                {"out", out}};
    fmt::print("{}\n", result.dump());
  } else if (trainer.steps_done() == steps) {
    say_what_next(report, out, trainer.config().source, demo);
  }
  return 0;
}

int run_train(int argc, char** argv, bool demo) {
  const bool resume = std::any_of(argv, argv + argc, [](const char* a) { return std::string_view(a) == "--resume"; });
  RunConfig config = starting_point(argc, argv, resume, "demo");
  const RunConfig begun = config;
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
  Shown shown;
  add_common(app, common);
  add_flags(app, place);
  add_flags(app, shown);
  add_flags(app, config.model);
  add_flags(app, config.train);
  parse_flags(app, argc, argv);
  apply(common);
  if (resume) {
    check(preset.empty() && data.empty() && !dense,
          "{}: must not stand beside --resume, which goes on as the run began",
          !preset.empty() ? "--preset"
          : dense         ? "--dense-twin"
                          : "--data");
    check_settled(begun, config);
  }
  check(data.empty() || app.count("--domain") == 0,
        "--domain: is of the built-in corpus; must not stand beside --data");
  config.device = placed(place.device);
  if (dense) config.model = dense_twin(config.model);
  if (!data.empty()) config.source.files.assign(data.begin(), data.end());
  if (demo && !resume && out.empty()) fs::remove_all(config.out);  // the demo's own folder starts anew
  validate(config.model);
  return train_model(std::move(config), {.resume = resume, .json = common.json, .demo = demo, .view = shown.view});
}

}  // namespace switchyard
