// ./run export: a run's model alone, as other programs read it.
#include <nlohmann/json.hpp>

#include "moe/checkpoint.h"
#include "moe/merge.h"
#include "tensor/file.h"
#include "train/command_flags.h"
#include "train/commands.h"

namespace switchyard {
namespace {

// Puts the mean of the weights over the steps, which the run in `dir` has kept, in place of the last ones.
void take_average(const fs::path& dir, Transformer& model) {
  const fs::path path = dir / "optimizer.safetensors";
  check(fs::exists(path), "--average: {} is missing; only a run's folder has a mean of the weights", path.string());
  const SafetensorsFile file(path);
  bool any = false;
  model.visit([&](const std::string& name, Var& p) {
    if (!file.contains("average." + name)) return;  // what was frozen has none
    file.load_into("average." + name, p.value());
    any = true;
  });
  check(any, "--average: {}: the run has kept no mean of its weights; train it with --average 0.999", dir.string());
}

}  // namespace

int run_export(int argc, char** argv) {
  CLI::App app(
      "Writes a model alone into a folder: low-rank adapters become part of its matrices, and where the architecture "
      "is "
      "Mixtral's or Llama's other programs can read it.");
  Common common;
  std::string from, out;
  bool average = false;
  add_text_flag(app, "--model", from, "a run's or a model's folder")->required();
  add_text_flag(app, "--out", out, "the new folder")->required();
  app.add_flag("--average", average, "the mean of the weights over the steps, which --average in training has kept");
  add_common(app, common);
  parse_flags(app, argc, argv);
  apply(common);
  check(!fs::exists(fs::path(out) / "config.json"), "--out {}: holds a model already; choose another folder", out);
  Transformer model = load_model(from);
  if (average) take_average(from, model);
  const AdapterConfig adapters = model.config().adapters;
  if (adapters.any()) model = merged(model);
  std::optional<Tokenizer> tokenizer;
  if (fs::exists(fs::path(from) / "tokenizer.json")) tokenizer = Tokenizer::load(fs::path(from) / "tokenizer.json");
  DirectoryUpdate update(out);
  write_model(update, model, tokenizer ? &*tokenizer : nullptr);
  const fs::path about_tokens = fs::path(from) / "tokenizer_config.json";  // it may hold a chat template
  if (fs::exists(about_tokens)) write_file(update.file("tokenizer_config.json"), read_file(about_tokens));
  update.commit();
  const int64_t numbers = total_params(model.config());
  const nlohmann::json about{
      {"out", out}, {"parameters", numbers}, {"merged", name(adapters.of)}, {"average", average}};
  if (common.json)
    fmt::print("{}\n", about.dump());
  else
    fmt::print("wrote {}: {} parameters{}{}\n", out, numbers,
               adapters.any() ? fmt::format("; merged the adapters of rank {}", adapters.rank) : "",
               average ? "; the mean of the weights over the steps" : "");
  return 0;
}

}  // namespace switchyard
