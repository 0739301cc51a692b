// Runs that are compared: variants, each trained from several seeds by the ordinary Trainer in a folder of its own.
#pragma once
#include <map>
#include <nlohmann/json.hpp>

#include "train/trainer.h"

namespace switchyard {

struct Variant {
  std::string label;
  RunConfig config;  // the run's folder and seed are the sweep's business
  // The variant, listed earlier, whose run of the same seed this one needs; "": none. Both have one tokenizer.
  std::string after = {};
  // Called with that run's folder before training begins or goes on; its result is what is trained.
  RunConfig (*prepare)(RunConfig config, const std::filesystem::path& before) = nullptr;
  double extra_flops = 0;  // of a token of training, beside the model's own: those of a teacher
};

// What one finished run left.
struct Outcome {
  std::string variant;
  uint64_t seed = 0;
  std::map<std::string, double> number;  // "loss", "seconds", …; what a run does not have is absent
  std::map<std::string, std::vector<double>> curve;
  std::map<std::string, std::vector<std::string>> text;

  bool diverged() const { return number.contains("diverged"); }  // then it is in no mean and no curve
};

// Over the seeds: the deviation is the sample's, 0 for one seed.
struct Summary {
  double mean = 0, deviation = 0;
  int64_t count = 0;
};

class Results {
 public:
  std::vector<std::string> variants;       // in the order listed
  std::vector<Outcome> outcomes;           // of every variant and seed
  std::map<std::string, double> findings;  // what an experiment concludes, for the record

  std::vector<const Outcome*> of(const std::string& variant) const;
  Summary number(const std::string& variant, const std::string& key) const;
  // Point by point the mean over the seeds, as far as the shortest goes.
  std::vector<double> curve(const std::string& variant, const std::string& key) const;
  double mean(const std::string& variant, const std::string& key) const { return number(variant, key).mean; }
};

struct Sweep {
  std::string name;  // in front of the lines of progress
  std::vector<Variant> variants;
  std::vector<uint64_t> seeds;
  std::filesystem::path out;  // a run's folder is out / variant-seed
  double seconds = 0;         // that all runs take, about; 0: not known before one is done
  int version = 1;            // raised where prepare() or measure() changes, so that older runs are done again
  std::function<void(Trainer& trainer, const Variant& variant, Outcome& outcome)> measure = {};  // a finished run
  bool quiet = false;  // no progress on standard error
};

// Trains what is not trained yet and reads the rest: interrupted runs go on, and runs of another configuration are
// done again. The results are the same bits, clocks aside, however often it was interrupted. nullopt: `stop` became
// true; the same call goes on. Errors come before anything is trained: a text that is missing or too short, a folder
// with a run that is not of this sweep, or in which another process is at work.
std::optional<Results> train_sweep(const Sweep& sweep, const std::atomic<bool>& stop);

// The outcome of a run that has done all its steps, from its model and its metrics.jsonl.
Outcome outcome_of(Trainer& trainer, const Variant& variant);
// The same of a run that has diverged: what its metrics.jsonl says.
Outcome diverged(const RunConfig& config, const Variant& variant);
nlohmann::json to_json(const Outcome& outcome);
Outcome outcome_from(const nlohmann::json& json);

// "no loss, k=2" -> "no-loss-k-2", for folders and the keys of records.
std::string slug(std::string_view label);

// ---- Tables ----

struct Column {
  std::string title, number;  // number: the key in Outcome
  int digits = 3;
};
using TableRows = std::vector<std::vector<std::string>>;

// The titles, and for each variant its label and its mean ± deviation in each column; "diverged" for a loss that no
// seed has.
TableRows table_rows(const Results& results, const std::vector<Column>& columns);
// As lines: the first column to the left, the others to the right.
std::string aligned(const TableRows& rows);

// How the variant of the lowest mean loss stands to the next one, of those that no seed has diverged in.
struct Lead {
  std::string best, next;  // next: "" if there is none
  double gap = 0;          // of the means
  // Both in deviations, which are those of the two variants together. Beyond `needed` a gap is more than chance with
  // 95 percent confidence: Student's t for two means, 2.27 for three seeds each. nullopt: one seed alone.
  std::optional<double> deviations, needed;
};
// nullopt: all diverged.
std::optional<Lead> lead(const Results& results);

}  // namespace switchyard
