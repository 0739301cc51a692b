#include "train/report.h"

#include <fmt/format.h>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "moe/size.h"
#include "tensor/file.h"
#include "train/config.h"

namespace switchyard {
namespace {

// Keeps the lines of metrics.jsonl up to `step`: what follows is done again. Returns the losses of the steps kept.
std::vector<double> drop_metrics_after(const std::filesystem::path& path, int64_t step) {
  std::vector<double> losses;
  std::ifstream in(path);
  if (!in) return losses;
  std::string kept, line;
  while (std::getline(in, line)) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || json.value("step", int64_t{0}) > step) continue;  // or cut short by a kill
    kept += line + "\n";
    if (json.contains("loss") && json["loss"].is_number()) losses.push_back(json["loss"].get<double>());
  }
  write_file(path, kept);
  return losses;
}

// The disk is full, or something like it.
[[noreturn]] void cannot_write(const std::filesystem::path& path) {
  fail("{}: cannot be written: {}; the last checkpoint is whole, --resume goes on from it", path.string(),
       std::generic_category().message(errno));
}

}  // namespace

Report::Report(const std::filesystem::path& dir, int64_t first_step, int64_t steps, double bytes_per_token,
               double floor_nats_per_byte, ViewKind view)
    : path_(dir / "metrics.jsonl"),
      first_step_(first_step),
      steps_(steps),
      bytes_per_token_(bytes_per_token),
      floor_(floor_nats_per_byte),
      view_kind_(view),
      view_(make_view(view)) {
  status_.steps = steps;
  if (floor_ > 0) status_.floor = floor_ * bytes_per_token_;
  for (double loss : drop_metrics_after(path_, first_step)) smooth(loss);
  metrics_ = std::fopen(path_.c_str(), "a");
  if (metrics_ == nullptr) cannot_write(path_);
}

Report::~Report() { std::fclose(metrics_); }

void Report::smooth(double loss) {
  if (std::isfinite(loss)) status_.loss = status_.losses.empty() ? loss : 0.9 * status_.loss + 0.1 * loss;
  status_.losses.push_back(status_.loss);
}

void Report::record(const nlohmann::json& line) {
  fmt::print(metrics_, "{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  // At once: a checkpoint must never know more steps than the metrics do.
  if (std::fflush(metrics_) != 0) cannot_write(path_);
}

void Report::start(const ModelConfig& model, const TrainConfig& train, int64_t train_tokens, int64_t validation_tokens,
                   double peak_flops) {
  const ParameterCount n = count_parameters(model);
  const std::string experts = model.dense() ? "dense" : fmt::format("{} experts, top-{}", model.experts, model.top_k);
  const int64_t step_tokens = int64_t{train.batch} * train.accumulate * model.context;
  note(fmt::format("model: {} parameters, {} active per token; {} layers of width {}, {}", thousands(double(n.total)),
                   thousands(double(n.active)), model.layers, model.width, experts));
  note(fmt::format("data:  {} tokens for training, {} for validation, {:.2f} bytes per token, vocabulary {}",
                   thousands(double(train_tokens)), thousands(double(validation_tokens)), bytes_per_token_,
                   model.vocab));
  note(fmt::format("run:   {} steps of {} tokens on {} threads ({})", train.steps, step_tokens, threads(), cpu_isa()));
  if (floor_ > 0)
    note(fmt::format("floor: {:.3f} nats per byte: what the corpus's own randomness costs; no model can do better",
                     floor_));
  flops_per_token_ = 3 * forward_flops_per_token(model), peak_flops_ = peak_flops;
  status_.clip = train.clip;
  status_.title = fmt::format("{}  {} parameters, {} active, {}, {} threads ({})", path_.parent_path().string(),
                              thousands(double(n.total)), thousands(double(n.active)), experts, threads(), cpu_isa());
  nlohmann::json run{{"steps", train.steps},
                     {"tokens_per_step", step_tokens},
                     {"training_flops_per_token", flops_per_token_},
                     {"bytes_per_token", bytes_per_token_},
                     {"parameters", n.total},
                     {"active_parameters", n.active},
                     {"threads", threads()},
                     {"isa", cpu_isa()}};
  if (floor_ > 0) run["floor_nats_per_byte"] = floor_;
  record({{"step", first_step_}, {"run", run}});
  began_ = since_ = Clock::now();
}

double Report::tokens_per_second() const { return training_seconds_ > 0 ? double(tokens_) / training_seconds_ : 0; }

void Report::step(const StepNumbers& s, bool log) {
  const double taken = std::chrono::duration<double>(Clock::now() - since_).count();
  training_seconds_ += taken;
  tokens_ += s.tokens;
  last_ = s;
  nlohmann::json json{{"step", s.step},   {"loss", s.loss},
                      {"rate", s.rate},   {"gradient_norm", s.gradient_norm},
                      {"seconds", taken}, {"tokens_per_second", tokens_per_second()}};
  if (s.noise_scale > 0) json["noise_scale"] = s.noise_scale;
  for (const auto& [name, value] : s.aux) json["aux"][name] = value;
  for (const RouteStats& layer : s.layers) {
    json["load"].push_back(layer.load);
    json["dropped"].push_back(layer.dropped);
    json["entropy"].push_back(layer.entropy);
    json["dead"].push_back(layer.dead);
    json["max_over_mean"].push_back(layer.max_over_mean);
  }
  record(json);
  smooth(s.loss);
  status_.step = s.step;
  status_.seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  status_.seconds_left = training_seconds_ / double(s.step - first_step_) * double(steps_ - s.step);
  if (floor_ > 0) status_.above_floor = status_.loss / bytes_per_token_ - floor_;
  status_.tokens_per_second = tokens_per_second();
  status_.of_limit = peak_flops_ > 0 ? status_.tokens_per_second * flops_per_token_ / peak_flops_ : 0;
  status_.gradient_norm = s.gradient_norm, status_.rate = s.rate;
  status_.noise_scale = s.noise_scale, status_.aux = s.aux, status_.layers = s.layers;
  std::string text = fmt::format("step {:>5}/{}  loss {:.3f}", s.step, steps_, status_.loss);
  if (floor_ > 0) text += fmt::format("  {:+.3f}/byte above floor", *status_.above_floor);
  text += fmt::format("  {} tok/s  {} left ", thousands(status_.tokens_per_second), minutes(status_.seconds_left));
  for (const RouteStats& layer : s.layers) text += " " + load_bars(layer.load);
  view_->status(status_, text, log);
  resume_clock();
}

void Report::evaluation(int64_t step, const Evaluation& e) {
  nlohmann::json json{{"step", step}, {"val_loss", e.all.loss()}, {"val_bits_per_byte", e.all.bits_per_byte()}};
  std::string text = fmt::format("validation loss {:.4f}, {:.3f} bits per byte", e.all.loss(), e.all.bits_per_byte());
  status_.evaluation = fmt::format("at step {}: {}", step, text);
  if (e.all.floor_bits > 0) {
    text += fmt::format("; nats per byte above the floor: {:+.3f}", e.all.above_floor());
    status_.evaluation += fmt::format(", {:+.3f} nats per byte above the floor", e.all.above_floor());
    json["above_floor"] = e.all.above_floor();
    for (size_t d = 0; d < e.domain.size(); ++d) {
      const Measured& m = e.domain[d];
      const std::string domain = name(static_cast<Domain>(d));
      const std::string distance = m.bytes ? fmt::format("{:+.3f}", m.above_floor()) : "not read";
      text += fmt::format("{}{} {}", d % 4 == 0 ? "\n            " : ", ", domain, distance);
      if (m.bytes) json["domains"][domain] = m.above_floor();
    }
  }
  record(json);
  note(fmt::format("eval {:>5}  {}", step, text));
}

void Report::average(int64_t step, const Evaluation& e) {
  record({{"step", step}, {"average_val_loss", e.all.loss()}});
  note(fmt::format("            with the mean of the weights: validation loss {:.4f}", e.all.loss()));
}

void Report::sample(int64_t step, const std::string& text) {
  record({{"step", step}, {"sample", text}});
  status_.sample_step = step, status_.sample = printable(text);
  note(fmt::format("---- sample at step {} ----\n{}\n----", step, status_.sample));
}

void Report::forecast(int64_t memory, double seconds) {
  record({{"step", first_step_}, {"forecast", {{"memory", memory}, {"seconds", seconds}}}});
  status_.seconds_left = seconds;
  began_ = since_ = Clock::now();
}

void Report::cost(int64_t memory) {
  const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  record({{"step", last_.step}, {"cost", {{"memory", memory}, {"seconds", seconds}}}});
}

void Report::event(int64_t step, const std::string& text) {
  record({{"step", step}, {"event", text}});
  note(text);
}

}  // namespace switchyard
