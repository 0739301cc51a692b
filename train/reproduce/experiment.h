// The papers' experiments in miniature. An experiment is a sweep whose variants are written in code; its table says
// what came out, beside what the paper says.
#pragma once
#include "train/sweep.h"

namespace switchyard::reproduce {

namespace fs = std::filesystem;

struct Experiment {
  std::string_view name, question, paper;
  double minutes, quick_minutes;  // on two idle cores
  std::vector<Variant> (*variants)(bool quick);
  std::vector<Column> columns;  // beside the loss, and what it cost
  std::string_view paper_title = {};
  std::map<std::string, std::string> paper_numbers = {};                                  // by variant
  void (*measure)(Trainer& trainer, const Variant& variant, Outcome& outcome) = nullptr;  // a finished run
  std::vector<std::string> (*conclude)(Results& results) = nullptr;                       // lines below the table
  int version = 1;  // raised where prepare() or measure() changes, so that older runs are done again
};

struct Options {
  bool quick = false;
  int seeds = 3;       // 1, 2, .. so many
  fs::path out;        // the folder of all experiments; a run's is out / experiment / variant-seed
  bool quiet = false;  // no progress on standard error
};

std::optional<Results> run_experiment(const Experiment& experiment, const Options& options,
                                      const std::atomic<bool>& stop);

// The table and what follows from it, as text.
std::string table(const Experiment& experiment, const Results& results);
// Numbers, curves and findings as a record of the book (docs/README.md), each with its `stamp`: source, commit, cpu.
nlohmann::json record(const Experiment& experiment, const Results& results, const nlohmann::json& stamp);

// All of them, in the order that they are listed in.
std::span<const Experiment* const> experiments();
// Error that names the nearest otherwise.
const Experiment& find_experiment(std::string_view name);

}  // namespace switchyard::reproduce
