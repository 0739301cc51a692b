// A run's folder as numbers to draw: what train/report.h wrote, read back. A run that is still going, was killed while
// it wrote, or diverged can be read too.
#pragma once
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "train/run_folder.h"

namespace switchyard::page {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

// What one step wrote. A number that is missing, or that was infinite or none when written, is `unknown`.
struct StepLine {
  int64_t step = 0;
  double loss = unknown;  // nats per token
  double rate = unknown, gradient_norm = unknown, seconds = unknown;
  double noise_scale = unknown;                      // in sequences
  std::vector<std::pair<std::string, double>> aux;   // unweighted
  std::vector<std::vector<float>> load;              // [layer][expert] proposals
  std::vector<double> dropped;                       // [layer] proposals without room
  std::vector<double> entropy, dead, max_over_mean;  // [layer]
};

struct EvaluationLine {
  int64_t step = 0;
  double loss = unknown;                                // nats per token
  double average_loss = unknown;                        // of the mean of the weights
  double above_floor = unknown;                         // nats per byte; unknown without a floor
  double floor = unknown;                               // nats per token
  std::vector<std::pair<std::string, double>> domains;  // nats per byte above the floor
};

struct TextLine {
  int64_t step = 0;
  std::string text;
};

struct Run {
  std::string name;  // of the folder
  std::filesystem::path dir;
  std::optional<RunConfig> config;  // none before the first checkpoint
  std::string config_missing;       // why there is none
  std::vector<StepLine> steps;      // by step, each once
  std::vector<EvaluationLine> evaluations;
  std::vector<TextLine> samples, events;
  int64_t planned = 0;               // steps; 0: not known
  double tokens_per_step = unknown;  //
  double flops_per_token = unknown;  // in training
  double floor = unknown;            // nats per token
  double parameters = unknown, active = unknown;
  int64_t unreadable = 0;  // lines of metrics.jsonl that are no JSON

  bool has_floor() const { return floor > 0; }
};

// Reads DIR. Error: there is no metrics.jsonl, or it holds no step.
Run read_run(const std::filesystem::path& dir);

// Reads the lines of a metrics.jsonl into `run`. A line that is no JSON object is counted and passed over, and so are
// kinds of lines that are not known here. Where a step is there twice, as after a resume, the later line holds.
void read_metrics(const std::string& text, Run& run);

}  // namespace switchyard::page
