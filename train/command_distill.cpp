// ./run distill and ./run upcycle: a model that begins with another one.
#include <algorithm>

#include "moe/checkpoint.h"
#include "tensor/random.h"
#include "train/command_flags.h"
#include "train/commands.h"
#include "train/distill.h"

namespace switchyard {
namespace {

// How a model was trained: what its folder says, or the demo's way. Its shape is `model`, without adapters.
RunConfig trained_like(const fs::path& dir, const ModelConfig& model) {
  RunConfig config{.source = {}, .model = model, .train = find_preset("demo").train, .out = {}};
  config.model.adapters = {};
  if (fs::exists(dir / "train.json")) {
    const RunConfig run = load_run(dir);
    config.source = run.source, config.train = run.train;
    config.source.tokens = "";
  }
  return config;
}

// The files of --data, or else what the other model was trained on, if that is a text.
Source text_for(const std::vector<std::string>& data, const Source& before, const fs::path& dir) {
  if (!data.empty()) return {.files = {data.begin(), data.end()}};
  check(!before.conversations, "{}: was tuned on conversations last; --data FILE… must say which text to learn from",
        dir.string());
  return before;
}

// Opens the folder of a new run, with the tokenizer of another model. Error if it holds a model or a run.
void begin_folder(const fs::path& out, const fs::path& model) {
  const fs::path tokenizer = model / "tokenizer.json";
  check(fs::exists(tokenizer), "{}: no such file; the model's tokens must be known", tokenizer.string());
  const RunFolder folder(out, false);
  fs::copy_file(tokenizer, out / "tokenizer.json", fs::copy_options::overwrite_existing);
}

// Flags that the other model's tokenizer answers.
std::vector<Field> without_tokenizer(TrainConfig& config) {
  std::vector<Field> fields = list_fields(config);
  std::erase_if(fields, [](const Field& f) { return f.name == "tokenizer" || f.name == "merged-vocab"; });
  return fields;
}

// The folder that a flag names, which must be there before the other flags can be read. "": --help was asked for.
std::string model_folder(int argc, char** argv, std::string_view flag) {
  const std::string dir = early_flag(argc, argv, flag).value_or("");
  const bool help = std::any_of(argv, argv + argc, [](const char* a) { return a == std::string_view("--help"); });
  check(help || !dir.empty(), "{}: is missing; must be a model's folder", flag);
  return help ? "" : dir;
}

// What decides how a dense model's MLPs become experts; nothing else may differ.
constexpr std::string_view upcycling_flags[] = {
    "experts",        "top-k",     "first-dense", "moe-every",    "expert-dropout",  "router",
    "router-compute", "gate-norm", "gate-scale",  "jitter",       "bias-rate",       "groups",
    "group-top-k",    "hash-seed", "capacity",    "min-capacity", "capacity-groups", "drop",
    "balance",        "z-loss",    "importance",  "load",         "device-balance",  "communication-balance"};

ModelConfig mixture_of(const ModelConfig& dense, const std::string& dir) {
  check(dense.dense(), "{}: has {} experts; upcycling begins with a dense model", dir, dense.experts);
  check(!dense.adapters.any(), "--model {}: has adapters; ./run export makes them part of it", dir);
  const ModelConfig usual;
  ModelConfig c = dense;
  c.experts = usual.experts, c.top_k = usual.top_k, c.gate_norm = usual.gate_norm, c.balance = usual.balance;
  return c;
}

// The largest difference of two models' logits on some random tokens.
double largest_difference(const fs::path& a, const fs::path& b) {
  Transformer first = load_model(a), second = load_model(b);
  const int64_t T = std::min(first.config().context, 64);
  Random random{{1, 0}};
  Tensor tokens({1, T}, Dtype::i32);
  for (int64_t t = 0; t < T; ++t) tokens.data<int32_t>()[t] = static_cast<int32_t>(random.below(first.config().vocab));
  const NoGrad no_grad;
  const std::vector<double> x = first(tokens).logits.value().values(), y = second(tokens).logits.value().values();
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

}  // namespace

int run_distill(int argc, char** argv) {
  const std::string dir = model_folder(argc, argv, "--teacher");
  RunConfig config;
  if (!dir.empty()) config = trained_like(dir, dense_twin(load_config(dir)));
  if (const std::optional<std::string> preset = early_flag(argc, argv, "--preset"))
    config.model = find_preset(*preset).model, config.train = find_preset(*preset).train;
  CLI::App app(
      "Trains a model that another one teaches: a share of its loss is the cross-entropy with the teacher's "
      "probabilities. Default: the teacher's dense twin, on the teacher's text, trained as it was.");
  app.footer("A run that was stopped goes on with ./run train --resume --out DIR; its teacher must be where it was.");
  Common common;
  Teacher teacher{.dir = dir};
  std::string same_dir, same_preset, out;
  std::vector<std::string> data;
  bool weights = false, dense = false;
  Where place;
  add_text_flag(app, "--teacher", same_dir, "the teacher's folder, which is asked at every step");
  app.add_option("--share", teacher.share,
                 "the teacher's share of the loss, 0 to 1 (default 0.25); the rest is the text's");
  app.add_flag("--weights", weights, "begin with the teacher's weights too, all but MLPs, experts and routers");
  add_text_flag(app, "--out", out, "the new run's folder")->required();
  add_text_flag(app, "--preset", same_preset, "the student, and how it is trained, instead");
  app.add_option("--data", data, "text files instead of the teacher's text");
  app.add_flag("--dense-twin", dense, "of --preset, the dense model with the same active parameters");
  add_common(app, common);
  add_flags(app, place);
  add_flags(app, config.model);
  add_flags(app, std::span<const Field>(without_tokenizer(config.train)));
  parse_flags(app, argc, argv);
  apply(common);
  check(teacher.share >= 0 && teacher.share <= 1, "--share {}: must be 0 to 1", teacher.share);
  config.device = placed(place.device), config.out = out, config.teacher = teacher;
  if (dense) config.model = dense_twin(config.model);
  config.source = text_for(data, config.source, dir);
  validate(config.model);
  check(!config.model.adapters.any(), "--adapters {}: a student learns with all its weights; ./run finetune adapts one",
        name(config.model.adapters.of));
  const int longest = load_config(dir).context;
  check(config.model.context <= longest, "--context {}: the teacher's is {}; must be no longer", config.model.context,
        longest);
  begin_folder(config.out, dir);
  if (weights) config = begun_as_student(std::move(config), dir);
  return train_model(std::move(config), {.json = common.json});
}

int run_upcycle(int argc, char** argv) {
  const std::string dir = model_folder(argc, argv, "--model");
  RunConfig config;
  if (!dir.empty()) config = trained_like(dir, mixture_of(load_config(dir), dir));
  config.train.steps = 0;
  CLI::App app(
      "Makes a dense model into a mixture: every expert is a copy of the MLP, the router is new. With --steps it "
      "trains on at once, on the dense model's text and as that was trained, where no flag says otherwise.");
  app.footer("Where the gates of a token sum to one, the mixture computes what the dense model does.");
  Common common;
  std::string same_dir, out;
  std::vector<std::string> data;
  Where place;
  add_text_flag(app, "--model", same_dir, "the dense model's folder");
  add_text_flag(app, "--out", out, "the mixture's folder")->required();
  app.add_option("--data", data, "text files to train on instead");
  add_common(app, common);
  add_flags(app, place);
  std::vector<Field> fields = list_fields(config.model);
  std::erase_if(fields, [](const Field& field) {
    return std::find(std::begin(upcycling_flags), std::end(upcycling_flags), field.name) == std::end(upcycling_flags);
  });
  add_flags(app, std::span<const Field>(fields));
  add_flags(app, std::span<const Field>(without_tokenizer(config.train)));
  parse_flags(app, argc, argv);
  apply(common);
  config.device = placed(place.device), config.out = out;
  if (config.train.steps > 0) config.source = text_for(data, config.source, dir);
  validate(config.model);
  begin_folder(config.out, dir);
  config = begun_as_mixture(std::move(config), dir);
  const ParameterCount n = count_parameters(load_config(config.start));
  const double difference = largest_difference(dir, config.start);
  if (!common.json)
    fmt::print("{} parameters, {} active per token\nlogits: at most {:.1e} from the dense model's\n", n.total, n.active,
               difference);
  if (config.train.steps > 0) return train_model(std::move(config), {.json = common.json});
  const Tokenizer tokenizer = Tokenizer::load(fs::path(dir) / "tokenizer.json");
  Transformer mixture = load_model(config.start);
  save_model(config.out, mixture, &tokenizer);
  fs::remove_all(config.start);
  const nlohmann::json result{
      {"parameters", n.total}, {"active_parameters", n.active}, {"largest_difference", difference}, {"out", out}};
  if (common.json)
    fmt::print("{}\n", result.dump());
  else
    fmt::print("saved to {}/\nwith --steps N, and another --out, it trains on at once\n", out);
  return 0;
}

}  // namespace switchyard
