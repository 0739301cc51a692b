#include "train/page/run_data.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "moe/size.h"

namespace switchyard::page {
namespace {

using nlohmann::json;

double number(const json& value) { return value.is_number() ? value.get<double>() : unknown; }
double number(const json& line, const char* key) { return line.contains(key) ? number(line[key]) : unknown; }

// A list with a number for each layer; where a layer has a number for each expert, their sum.
std::vector<double> by_layer(const json& line, const char* key) {
  std::vector<double> result;
  if (!line.contains(key) || !line[key].is_array()) return result;
  for (const json& layer : line[key]) {
    double sum = 0;
    if (layer.is_array())
      for (const json& expert : layer) sum += number(expert);
    result.push_back(layer.is_array() ? sum : number(layer));
  }
  return result;
}

std::vector<std::pair<std::string, double>> named(const json& line, const char* key) {
  std::vector<std::pair<std::string, double>> result;
  if (line.contains(key) && line[key].is_object())
    for (const auto& [name, value] : line[key].items()) result.emplace_back(name, number(value));
  return result;
}

StepLine read_step(const json& line) {
  StepLine s{.loss = number(line, "loss"),
             .rate = number(line, "rate"),
             .gradient_norm = number(line, "gradient_norm"),
             .seconds = number(line, "seconds"),
             .noise_scale = number(line, "noise_scale"),
             .aux = named(line, "aux"),
             .load = {},
             .dropped = by_layer(line, "dropped"),
             .entropy = by_layer(line, "entropy"),
             .dead = by_layer(line, "dead"),
             .max_over_mean = by_layer(line, "max_over_mean")};
  if (line.contains("load") && line["load"].is_array())
    for (const json& layer : line["load"]) {
      s.load.emplace_back();
      if (layer.is_array())
        for (const json& expert : layer) s.load.back().push_back(static_cast<float>(number(expert)));
    }
  return s;
}

// The floor in nats per token follows from what the line says of the same text in nats per byte.
EvaluationLine read_evaluation(const json& line) {
  EvaluationLine e{
      .loss = number(line, "val_loss"), .above_floor = number(line, "above_floor"), .domains = named(line, "domains")};
  for (auto& [domain, distance] : e.domains)
    if (distance == 0) distance = unknown;  // exactly: no text of it was read
  const double nats_per_byte = number(line, "val_bits_per_byte") * 0.6931471805599453;
  e.floor = (nats_per_byte - e.above_floor) * e.loss / nats_per_byte;
  return e;
}

void read_run_line(const json& line, Run& run) {
  const auto take = [&](const char* key, double& field) {
    if (const double x = number(line, key); std::isfinite(x)) field = x;
  };
  double planned = double(run.planned), floor_per_byte = unknown, bytes_per_token = unknown;
  take("steps", planned);
  run.planned = static_cast<int64_t>(planned);
  take("tokens_per_step", run.tokens_per_step);
  take("training_flops_per_token", run.flops_per_token);
  take("floor_nats_per_byte", floor_per_byte);
  take("bytes_per_token", bytes_per_token);
  take("parameters", run.parameters);
  take("active_parameters", run.active);
  if (floor_per_byte * bytes_per_token > 0) run.floor = floor_per_byte * bytes_per_token;
}

// Lines of one kind in the order of their steps; of two at the same step, the later one.
template <class Line>
void order(std::vector<Line>& lines) {
  std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.step < b.step; });
  std::vector<Line> kept;
  for (Line& line : lines) {
    if (!kept.empty() && kept.back().step == line.step) kept.pop_back();
    kept.push_back(std::move(line));
  }
  lines = std::move(kept);
}

void read_line(const json& line, Run& run) {
  const double at = number(line, "step");
  const int64_t step = at >= 0 && at < 1e15 ? static_cast<int64_t>(at) : 0;
  const auto text = [&](const char* key) { return line[key].get<std::string>(); };
  if (line.contains("run") && line["run"].is_object()) {
    read_run_line(line["run"], run);
  } else if (line.contains("val_loss")) {
    run.evaluations.push_back(read_evaluation(line));
    run.evaluations.back().step = step;
  } else if (line.contains("average_val_loss")) {  // after the evaluation of the same step
    if (!run.evaluations.empty() && run.evaluations.back().step == step)
      run.evaluations.back().average_loss = number(line, "average_val_loss");
  } else if (line.contains("sample") && line["sample"].is_string()) {
    run.samples.push_back({step, text("sample")});
  } else if (line.contains("event") && line["event"].is_string()) {
    run.events.push_back({step, text("event")});
  } else if (line.contains("loss") && step > 0) {
    run.steps.push_back(read_step(line));
    run.steps.back().step = step;
    // The first step's speed is a mean over itself alone, so it tells how many tokens a step has.
    if (run.steps.size() == 1 && !(run.tokens_per_step > 0))
      run.tokens_per_step = std::round(number(line, "tokens_per_second") * run.steps[0].seconds);
  }
}

// What the metrics do not say, from the configuration.
void fill_from_config(Run& run) {
  const ModelConfig& m = run.config->model;
  const TrainConfig& t = run.config->train;
  const ParameterCount n = count_parameters(m);
  if (run.planned == 0) run.planned = t.steps;
  if (!(run.tokens_per_step > 0)) run.tokens_per_step = double(t.batch) * t.accumulate * double(m.context);
  if (!(run.flops_per_token > 0)) run.flops_per_token = 3 * forward_flops_per_token(m);
  if (!(run.parameters > 0)) run.parameters = double(n.total), run.active = double(n.active);
}

}  // namespace

void read_metrics(const std::string& text, Run& run) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const json parsed = json::parse(line, nullptr, false);
    if (parsed.is_object())
      read_line(parsed, run);
    else
      ++run.unreadable;
  }
  order(run.steps);
  order(run.evaluations);
  order(run.samples);
  if (!run.has_floor() && !run.evaluations.empty()) run.floor = run.evaluations.back().floor;
}

Run read_run(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / "metrics.jsonl";
  check(std::filesystem::exists(path), "{}: holds no run (no metrics.jsonl)", dir.string());
  Run run;
  run.dir = dir;
  run.name = (dir / "").parent_path().filename().string();
  read_metrics(read_file(path), run);
  check(!run.steps.empty() || run.unreadable == 0, "{}: holds no step, and {} lines that are no JSON", path.string(),
        run.unreadable);
  check(!run.steps.empty(), "{}: holds no step yet; call again once training has begun", path.string());
  try {
    run.config = load_run(dir);
    fill_from_config(run);
  } catch (const Error& error) {
    run.config_missing = error.what();
  }
  return run;
}

}  // namespace switchyard::page
