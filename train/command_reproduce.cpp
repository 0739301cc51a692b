// ./run reproduce: the papers' tables in miniature.
#include <algorithm>
#include <fstream>

#include "train/command_flags.h"
#include "train/commands.h"
#include "train/reproduce/experiment.h"

namespace switchyard {
namespace {

using namespace reproduce;

struct ReproduceFlags {
  std::string name, out, commit = "unknown";
  int seeds = 3, threads = 0;
  bool quick = false, record = false;
};

ReproduceFlags read_flags(int argc, char** argv) {
  ReproduceFlags f;
  CLI::App app(
      "Trains a paper's variants from several seeds and prints its table in miniature. Without a name: a list.");
  app.add_option("name", f.name, "the experiment, or all");
  app.add_flag("--quick", f.quick, "fewer steps; the order of close variants may be noise");
  app.add_option("--seeds", f.seeds, "how many seeds each variant is trained from, 1 to 100");
  add_text_flag(app, "--out", f.out, "where runs and results go; default: runs/reproduce, or runs/reproduce-quick");
  app.add_flag("--record", f.record, "write the book's record too, docs/record/reproduce-NAME.json");
  add_text_flag(app, "--commit", f.commit, "what the record says that it was made from");
  app.add_option("--threads", f.threads, "CPU threads; default: all that this process may use");
  parse_flags(app, argc, argv);
  check(f.seeds >= 1 && f.seeds <= 100, "--seeds {}: must be 1 to 100", f.seeds);
  check(!f.record || fs::is_directory("docs/record"), "--record: no docs/record here; call it in the root of the tree");
  if (f.out.empty()) f.out = f.quick ? "runs/reproduce-quick" : "runs/reproduce";
  if (f.threads != 0) set_threads(f.threads);
  return f;
}

void list_experiments() {
  fmt::print("minutes on two idle cores, and with --quick\n\n");
  for (const Experiment* e : experiments())
    fmt::print("{:<18} {:4.1f}  {:4.1f}  {}\n", e->name, e->minutes, e->quick_minutes, e->question);
  fmt::print(
      "\n./run reproduce NAME [--quick] [--seeds N] [--out DIR], or all; Ctrl-C saves, the same command goes on\n");
}

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

// Trains, prints and writes one experiment; false: stopped.
bool reproduce_one(const Experiment& e, const ReproduceFlags& flags, const std::atomic<bool>& stop) {
  const Options options{.quick = flags.quick, .seeds = flags.seeds, .out = flags.out};
  const std::vector<Variant> variants = e.variants(flags.quick);
  const TrainConfig& first = variants.at(0).config.train;
  fmt::print("{}: {}\n{}\n", e.name, e.question, e.paper);
  fmt::print("{} variants, {} seeds, {} steps of {} tokens; about {:.1f} minutes on two idle cores\n", variants.size(),
             flags.seeds, first.steps, first.batch * variants[0].config.model.context,
             (flags.quick ? e.quick_minutes : e.minutes) * flags.seeds / 3);
  std::fflush(stdout);
  std::optional<Results> results = run_experiment(e, options, stop);
  if (!results) return false;
  const std::vector<std::string> conclusions = e.conclude ? e.conclude(*results) : std::vector<std::string>();
  fmt::print("loss: cross-entropy alone, validation text, nats per token; mean ± standard deviation over seeds\n\n{}\n",
             table(e, *results));
  for (const std::string& line : conclusions) fmt::print("{}\n", line);
  fmt::print("\n");
  const std::string command =
      fmt::format("./run reproduce {}{} --seeds {}", e.name, flags.quick ? " --quick" : "", flags.seeds);
  const nlohmann::json stamp{{"source", command}, {"commit", flags.commit}, {"cpu", processor()}};
  const std::string text = record(e, *results, stamp).dump(2) + "\n";
  write_file(options.out / e.name / "result.json", text);
  if (flags.record) write_file(fmt::format("docs/record/reproduce-{}.json", e.name), text);
  return true;
}

}  // namespace

int run_reproduce(int argc, char** argv) {
  const std::atomic<bool>& stop = interruptible();
  const ReproduceFlags flags = read_flags(argc, argv);
  if (flags.name.empty()) {
    list_experiments();
    return 0;
  }
  if (flags.name != "all") return reproduce_one(find_experiment(flags.name), flags, stop) ? 0 : 130;
  for (const Experiment* e : experiments())
    if (!reproduce_one(*e, flags, stop)) return 130;
  return 0;
}

}  // namespace switchyard
