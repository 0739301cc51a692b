// What a finished run left: its validation loss, its cost, and how its experts were used.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "moe/size.h"
#include "train/sweep.h"

namespace switchyard {
namespace {

constexpr int64_t final_evaluation = 4;  // times as many tokens as the others; it begins with theirs
constexpr size_t points = 40;            // of a curve that has a number for each step

// Numbers of each step, cut into `points` equal parts: the mean of each.
std::vector<double> thinned(const std::vector<double>& x) {
  std::vector<double> means;
  const size_t parts = std::min(points, x.size());
  for (size_t i = 0; i < parts; ++i) {
    const size_t first = i * x.size() / parts, last = (i + 1) * x.size() / parts;
    double sum = 0;
    for (size_t j = first; j < last; ++j) sum += x[j];
    means.push_back(sum / double(last - first));
  }
  return means;
}

// Mean over the last tenth, at least one.
double at_end(const std::vector<double>& x) {
  const size_t count = std::max<size_t>(x.size() / 10, 1);
  double sum = 0;
  for (size_t i = x.size() - count; i < x.size(); ++i) sum += x[i];
  return sum / double(count);
}

double mean_of(const nlohmann::json& list) {
  double sum = 0;
  for (const nlohmann::json& x : list) sum += x.get<double>();
  return list.empty() ? 0 : sum / double(list.size());
}

double total_of(const nlohmann::json& lists) {
  double sum = 0;
  for (const nlohmann::json& list : lists)
    for (const nlohmann::json& x : list) sum += x.get<double>();
  return sum;
}

// Everything that metrics.jsonl says of a run. The clock is that of the training steps alone.
void read_metrics(const RunConfig& config, double flops_per_token, Outcome& outcome) {
  const double tokens = double(config.train.batch) * config.train.accumulate * config.model.context;
  std::map<std::string, std::vector<double>> step;  // a number for each step
  double seconds = 0;
  std::ifstream in(config.out / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json m = nlohmann::json::parse(line);
    if (m.contains("val_loss") && m["val_loss"].is_number()) {
      const double number = m["step"].get<double>();
      outcome.curve["step"].push_back(number);
      outcome.curve["seconds"].push_back(seconds);
      outcome.curve["flops"].push_back(number * tokens * flops_per_token);
      outcome.curve["loss"].push_back(m["val_loss"].get<double>());
    }
    if (!m.contains("loss")) continue;
    seconds += m["seconds"].get<double>();
    for (const auto& [key, value] : m.items())
      if (value.is_number() && key != "step" && key != "seconds" && key != "rate" && key != "tokens_per_second")
        step[key].push_back(value.get<double>());
    if (m.contains("aux"))
      for (const auto& [key, value] : m["aux"].items()) step[key].push_back(value.get<double>());
    if (!m.contains("load")) continue;
    for (const char* key : {"max_over_mean", "dead", "entropy"}) step[key].push_back(mean_of(m[key]));
    step["drop_rate"].push_back(total_of(m["dropped"]) / total_of(m["load"]));
  }
  for (const auto& [key, x] : step) {
    outcome.curve["each step: " + key] = thinned(x);
    outcome.number["at the end: " + key] = at_end(x);
  }
  const double steps = double(step["loss"].size());
  outcome.number["seconds"] = seconds;
  outcome.number["teraflops"] = steps * tokens * flops_per_token / 1e12;
  outcome.number["tokens_per_second"] = seconds > 0 ? steps * tokens / seconds : 0;
}

// How evenly the experts served the validation text, as means over the layers; dead ones are counted in all of them.
void measure_balance(const Evaluation& evaluation, Outcome& outcome) {
  double busiest = 0, variation = 0, dead = 0;
  for (const auto& layer : evaluation.visits) {
    std::vector<double> load(layer[0].size(), 0);
    for (const auto& domain : layer)
      for (size_t e = 0; e < load.size(); ++e) load[e] += double(domain[e]);
    double mean = 0, square = 0;
    for (double l : load) mean += l / double(load.size()), square += l * l / double(load.size());
    busiest += *std::max_element(load.begin(), load.end()) / mean;
    variation += std::sqrt(std::max(0.0, square / (mean * mean) - 1));
    dead += double(std::count(load.begin(), load.end(), 0.0));
  }
  const double layers = double(evaluation.visits.size());
  if (layers == 0) return;
  outcome.number["max_over_mean"] = busiest / layers;
  outcome.number["load_variation"] = variation / layers;
  outcome.number["dead"] = dead;
}

double training_flops(const ModelConfig& model, const Variant& variant) {
  return 3 * forward_flops_per_token(model) + variant.extra_flops;
}

}  // namespace

Outcome outcome_of(Trainer& trainer, const Variant& variant) {
  const RunConfig& c = trainer.config();
  Outcome outcome{.variant = variant.label, .seed = c.train.seed};
  read_metrics(c, training_flops(c.model, variant), outcome);
  const Evaluation evaluation =
      c.source.built_in() ? evaluate_documents(trainer.model(), trainer.data().tokenizer(), built_in_corpus(c.train),
                                               first_validation_document, final_evaluation * c.train.eval_tokens)
                          : evaluate_windows(trainer.model(), trainer.data(), trainer.data().validation_tokens());
  outcome.number["loss"] = evaluation.all.loss();
  outcome.number["perplexity"] = std::exp(evaluation.all.loss());
  outcome.number["nats_per_byte"] = evaluation.all.nats_per_byte();
  if (evaluation.all.floor_bits > 0) outcome.number["above_floor"] = evaluation.all.above_floor();
  const ParameterCount count = count_parameters(c.model);
  outcome.number["parameters"] = double(count.total);
  outcome.number["active_parameters"] = double(count.active);
  measure_balance(evaluation, outcome);
  // A file cannot hold what is no finite number, and no mean should. Without a loss the run has diverged.
  std::erase_if(outcome.number, [](const auto& entry) { return !std::isfinite(entry.second); });
  if (!outcome.number.contains("loss")) outcome.number["diverged"] = 1;
  return outcome;
}

Outcome diverged(const RunConfig& config, const Variant& variant) {
  Outcome outcome{.variant = variant.label, .seed = config.train.seed};
  read_metrics(config, training_flops(config.model, variant), outcome);
  outcome.number["diverged"] = 1;
  return outcome;
}

nlohmann::json to_json(const Outcome& o) {
  return {{"variant", o.variant}, {"seed", o.seed}, {"number", o.number}, {"curve", o.curve}, {"text", o.text}};
}

Outcome outcome_from(const nlohmann::json& json) {
  Outcome o;
  json.at("variant").get_to(o.variant);
  json.at("seed").get_to(o.seed);
  json.at("number").get_to(o.number);
  json.at("curve").get_to(o.curve);
  json.at("text").get_to(o.text);
  return o;
}

}  // namespace switchyard
