// What a run shows and records while it trains: progress, evaluations, samples, and metrics.jsonl.
#pragma once
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/evaluate.h"
#include "train/view.h"

namespace switchyard {

// What one optimizer step did. Losses are means over its passes, in nats per token.
struct StepNumbers {
  int64_t step = 0;  // 1 for the first
  int64_t tokens = 0;
  double loss = 0;                                  // cross-entropy alone
  std::vector<std::pair<std::string, double>> aux;  // each auxiliary term, unweighted
  double rate = 0, gradient_norm = 0;
  double noise_scale = 0;          // train/gradient_noise.h, in sequences; 0: not known
  std::vector<RouteStats> layers;  // of the last pass
};

// metrics.jsonl has a line of JSON for each thing that happened, all with "step", and one of
//   "run": {"steps", "tokens_per_step", "training_flops_per_token", "bytes_per_token", "floor_nats_per_byte" (only
//   where
//     the text has one), "parameters", "active_parameters", "threads", "isa"}: training began, or went on
//   "loss", "rate", "gradient_norm", "seconds" of the step, "tokens_per_second" so far, "noise_scale" if asked for,
//   "aux": {name: unweighted value},
//     and by layer "load" of each expert, "dropped" of each, "entropy", "dead", "max_over_mean": a step
//   "val_loss", "val_bits_per_byte", with a floor also "above_floor" and "domains": {name: nats per byte above it}
//   "average_val_loss": of the mean of the weights (--average)
//   "sample": a text that the model has written
//   "forecast" and "cost": {"memory" in bytes at the peak, "seconds" from the first step to the last}, before and after
//   "event": what else there is to say, such as a step that was left out
class Report {
 public:
  // Lines of metrics.jsonl after `first_step` are dropped: they belong to steps that a resumed run does again. `quiet`
  // shows nothing; metrics are written all the same.
  Report(const std::filesystem::path& dir, int64_t first_step, int64_t steps, double bytes_per_token,
         double floor_nats_per_byte, ViewKind view);
  Report(const std::filesystem::path& dir, int64_t first_step, int64_t steps, double bytes_per_token,
         double floor_nats_per_byte, bool quiet)
      : Report(dir, first_step, steps, bytes_per_token, floor_nats_per_byte, quiet ? ViewKind::none : ViewKind::plain) {
  }
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // Says what is trained on what. `peak_flops`: what the machine can do at most in a second, 0 if not known.
  void start(const ModelConfig& model, const TrainConfig& train, int64_t train_tokens, int64_t validation_tokens,
             double peak_flops = 0);
  void step(const StepNumbers& numbers, bool log);
  void evaluation(int64_t step, const Evaluation& evaluation);
  void average(int64_t step, const Evaluation& evaluation);  // of the mean of the weights
  void sample(int64_t step, const std::string& text);
  // What the run is going to cost, and what it has cost: bytes at the peak, and the seconds between the two calls.
  void forecast(int64_t memory, double seconds);
  void cost(int64_t memory);
  // Something that the run's reader should know: shown, and kept in metrics.jsonl.
  void event(int64_t step, const std::string& text);
  void note(const std::string& text) { view_->line(text); }
  // Ends the live view, if there is one; what comes after is plain lines.
  void end_view() { view_ = make_view(view_kind_ == ViewKind::none ? ViewKind::none : ViewKind::plain); }
  // The time until now since the last step was no training: an evaluation, a sample, a checkpoint.
  void resume_clock() { since_ = Clock::now(); }
  double tokens_per_second() const;  // since the start, evaluations and samples not counted
  double last_loss() const { return last_.loss; }

 private:
  using Clock = std::chrono::steady_clock;
  void record(const nlohmann::json& line);
  void smooth(double loss);
  std::FILE* metrics_ = nullptr;
  std::filesystem::path path_;
  int64_t first_step_, steps_;
  double bytes_per_token_, floor_;
  ViewKind view_kind_;
  RunStatus status_;
  std::unique_ptr<View> view_;
  double flops_per_token_ = 0, peak_flops_ = 0;
  int64_t tokens_ = 0;
  double training_seconds_ = 0;
  Clock::time_point since_ = Clock::now();
  Clock::time_point began_ = Clock::now();
  StepNumbers last_;
};

}  // namespace switchyard
