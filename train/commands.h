// The commands of switchyard-train. Each returns the program's exit code.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "moe/config_io.h"
#include "train/presets.h"
#include "train/trainer.h"

namespace switchyard {

namespace fs = std::filesystem;

// Reads its own flags; trains, prints how it goes, and says what to try next. With --json the last line on standard
// output is {"steps", "train_loss", "val_loss", "tokens_per_second", "parameters", "active_parameters", "out"} and
// nothing else goes there.
int run_train(int argc, char** argv, bool demo);
struct TrainOptions {
  bool resume = false, json = false, demo = false;  // json: see run_train
  ViewKind view = ViewKind::automatic;
};
int train_model(RunConfig config, const TrainOptions& options);
// Reads its own flags. The same for a run that begins with a model: train/command_finetune.cpp.
int run_finetune(int argc, char** argv);
int run_export(int argc, char** argv);
// What goes on with a run that was stopped, on the device it ran on: a folder does not keep that.
std::string resume_command(const RunConfig& config);

struct EvalCommand {
  fs::path model;
  std::vector<fs::path> files;  // empty: what the model was trained on
  int64_t tokens = 0;           // 0: all of a file's, 200,000 of the built-in corpus
  Dtype dtype = Dtype::f32;     // of the activations
  Device device = Device::cpu;
  uint64_t seed = 0;           // which documents of the built-in corpus: another number, others
  bool json = false;           // {"loss", "perplexity", "bits_per_byte", "floor_bits_per_byte", "domains"}
  bool conversations = false;  // the files hold those
  bool corpus = false;         // the built-in corpus, even if the model was trained on other text last
  // With --tasks:
  bool tasks = false, trained = false;  // mark answers; to the questions that were trained on
  int64_t questions = 100;              // of each kind
  // Which built-in corpus; none: that of the run, or else the first one.
  std::optional<int> people;
  std::optional<uint64_t> corpus_seed;
};
int run_eval(const EvalCommand& command);
// Marks answers to the built-in questions; with --json {"held_out", and by kind and for "all": {"asked", "exact",
// "percent", "low", "high", "wrong": [{"question", "right", "said"}]}}.
int run_mark(const EvalCommand& command);

// A preset's name, a published model's, or a model's folder; empty: a list of the names.
int run_inspect(const std::string& what, uint64_t seed, bool json);

struct RouteCommand {
  ModelConfig config;        // its router, and what routing_fields() lists; the file has the number of experts
  std::optional<int> top_k;  // none: 1 for switch, hash and base, all for soft, else 2
  fs::path logits, bias;     // bias: a list (E), for deepseek-v3
  std::optional<uint64_t> noise_seed;
  bool eval = false, json = false;
};
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, RouteCommand>
constexpr void visit(Config& c, F&& f) {
  f("top-k", c.top_k, 1, 4096,
    "experts that each token visits; default: 1 for switch, hash and base, all for soft, else 2");
  f("noise-seed", c.noise_seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(),
    "let routers draw their random numbers, these; default: none are drawn");
  f("eval", c.eval, "route as outside training: no capacity, no noise, and no evening out by base and sinkhorn");
}
// A router's defaults; the name may be that of a paper that is a setting of another's. Error that names the nearest.
RouteCommand route_setting(std::string_view name);
// The fields of a configuration that ./run route has flags for.
std::vector<Field> routing_fields(ModelConfig& config);
std::string route_help();  // a line on each router
// Shows what a router does with the logits in a file, computed in f64: {"logits": (T, E), "token_ids": (T) and
// "table": (V), which hash chooses by, "sequence": (T), which balance losses within a sequence ask for}. The terms are
// without coefficients, and logit_gradient is of them alone. With `json` one line: {"selection": [{"token", "expert",
// "gate", "rank"}, ..], "kept": the same, "load", "dropped", "aux": {name: value}, "logit_gradient": {name: (T, E)}}.
int run_route(const RouteCommand& command);

struct TokenizeCommand {
  fs::path tokenizer, file;                // neither tokenizer nor learn: bytes
  std::optional<std::string> text, learn;  // learn: the text that a BPE is trained on
  int vocab = 1024;
  bool merges = false, count = false, json = false;
};
int run_tokenize(const TokenizeCommand& command);

struct CorpusCommand {
  int64_t documents = 8;
  uint64_t first = 0, seed = 1;
  int people = 200;
  std::string domain;
  bool measure = false, json = false;
  int64_t tasks = 0;      // print so many questions of each kind instead, as lines of a file of conversations
  bool held_out = false;  // those that nothing is trained on
  fs::path out;
};
int run_corpus(const CorpusCommand& command);

// Reads its own flags. What is odd about the machine and the build: train/doctor.h.
int run_doctor(int argc, char** argv);

// Reads its own flags. The step after a checkpoint, looked at from within: train/replay.h.
int run_replay(int argc, char** argv);

// Reads its own flags. The papers' experiments in miniature: train/reproduce/experiment.h.
int run_reproduce(int argc, char** argv);
// Reads its own flags. A file's configurations from several seeds, and their table: train/sweep_file.h. With --json one
// line: {"seeds", "variants": [{"variant", "settings", "diverged", "numbers": {key: {"mean", "deviation", "runs"}}}],
// "best": {"variant", "next", "gap", "gap_in_deviations", "beyond_chance_above"}}.
int run_sweep(int argc, char** argv);

// Reads its own flags. A rising learning rate, and which one to take: train/find_rate.h. With --json one line:
// {"diverged", "points": [{"rate", "loss", "smooth"}], "lowest", "steepest", "recommended"}; the last three are null
// where the loss did not fall.
int run_find_rate(int argc, char** argv);
// Both read their own flags. A run with a teacher, and a dense model made into a mixture: train/distill.h. Both
// begin their folder with the other model's tokenizer. A training prints what that of run_train does; run_upcycle
// without one prints with --json one line: {"parameters", "active_parameters", "largest_difference" of a logit from
// the dense model's, "out"}.
int run_distill(int argc, char** argv);
int run_upcycle(int argc, char** argv);
// Reads its own flags. Runs as one HTML file: train/page/page.h. With --json one line: {"out", "bytes", "runs"}.
int run_report(int argc, char** argv);

}  // namespace switchyard
