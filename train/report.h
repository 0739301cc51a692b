// What a run shows and records while it trains: progress lines, evaluations, samples, and metrics.jsonl.
#pragma once
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "moe/balance.h"
#include "train/evaluate.h"

namespace switchyard {

// What one optimizer step did. Losses are means over its passes, in nats per token.
struct StepNumbers {
  int64_t step = 0;  // 1 for the first
  int64_t tokens = 0;
  double loss = 0;                                  // cross-entropy alone
  std::vector<std::pair<std::string, double>> aux;  // each auxiliary term, unweighted
  double rate = 0, gradient_norm = 0;
  std::vector<RouteStats> layers;  // of the last pass
};

class Report {
 public:
  // `quiet` prints nothing; metrics are written all the same. Lines of metrics.jsonl after `first_step` are dropped:
  // they belong to steps that a resumed run does again.
  Report(const std::filesystem::path& dir, int64_t first_step, int64_t steps, double bytes_per_token,
         double floor_nats_per_byte, bool quiet);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  void start(const ModelConfig& model, const TrainConfig& train, int64_t train_tokens, int64_t validation_tokens);
  void step(const StepNumbers& numbers, bool log);
  void evaluation(int64_t step, const Evaluation& evaluation);
  void sample(int64_t step, const std::string& text);
  void note(const std::string& text);
  // The time until now since the last step was no training: an evaluation, a sample, a checkpoint.
  void resume_clock() { since_ = Clock::now(); }
  double tokens_per_second() const;  // since the start, evaluations and samples not counted
  double last_loss() const { return last_.loss; }

 private:
  using Clock = std::chrono::steady_clock;
  void line(const std::string& text);
  std::FILE* metrics_ = nullptr;
  int64_t first_step_, steps_;
  double bytes_per_token_, floor_;
  bool quiet_, terminal_;
  int64_t tokens_ = 0;
  double training_seconds_ = 0;
  Clock::time_point since_ = Clock::now();
  StepNumbers last_;
  double smooth_loss_ = 0;
};

// Load of each expert as a small bar, the even share at half height: ▃▅▂▄
std::string load_bars(const std::vector<int64_t>& load);

}  // namespace switchyard
