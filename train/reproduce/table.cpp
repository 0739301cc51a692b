// The table of an experiment, and the book's record of it.
#include <algorithm>
#include <set>

#include "train/reproduce/experiment.h"

namespace switchyard::reproduce {
namespace {

// In every table, before and behind the experiment's own columns.
const std::vector<Column> first_columns{{"loss", "loss", 4}};
const std::vector<Column> last_columns{{"TFLOPs", "teraflops", 3}, {"seconds", "seconds", 1}};

}  // namespace

std::string table(const Experiment& e, const Results& results) {
  std::vector<Column> columns = first_columns;
  columns.insert(columns.end(), e.columns.begin(), e.columns.end());
  columns.insert(columns.end(), last_columns.begin(), last_columns.end());
  TableRows rows = table_rows(results, columns);
  if (e.paper_numbers.empty()) return aligned(rows);
  rows[0].push_back("paper: " + std::string(e.paper_title));
  for (size_t i = 1; i < rows.size(); ++i) {
    const auto said = e.paper_numbers.find(rows[i][0]);
    rows[i].push_back(said == e.paper_numbers.end() ? "-" : said->second);
  }
  return aligned(rows);
}

namespace {

// The curves that a record keeps; a run's folder has the rest.
bool recorded_curve(const std::string& key) {
  static const std::set<std::string> kept{
      "step",        "flops", "seconds", "loss", "each step: max_over_mean", "each step: dead", "each step: drop_rate",
      "each step: z"};
  return kept.contains(key);
}

bool recorded_number(const std::string& key, const Experiment& e) {
  const auto same = [&](const Column& c) { return c.number == key; };
  return !key.starts_with("at the end: ") || std::any_of(e.columns.begin(), e.columns.end(), same);
}

std::string curve_text(const std::vector<double>& curve) {
  std::string text;
  for (double x : curve) text += fmt::format("{}{:.5g}", text.empty() ? "" : " ", x);
  return text;
}

}  // namespace

nlohmann::json record(const Experiment& e, const Results& results, const nlohmann::json& stamp) {
  nlohmann::json all;
  const auto entry = [&](const std::string& key, const nlohmann::json& value) -> nlohmann::json& {
    all[key] = stamp;
    all[key]["value"] = value;
    return all[key];
  };
  entry("variants", results.variants);
  for (const std::string& variant : results.variants) {
    std::set<std::string> numbers, curves;
    for (const Outcome* o : results.of(variant)) {
      for (const auto& [key, value] : o->number) numbers.insert(key);
      for (const auto& [key, value] : o->curve) curves.insert(key);
    }
    for (const std::string& key : numbers) {
      if (!recorded_number(key, e)) continue;
      const Summary s = results.number(variant, key);
      nlohmann::json& made = entry(slug(key) + "_" + slug(variant), s.mean);
      made["deviation"] = s.deviation, made["runs"] = s.count;
    }
    for (const std::string& key : curves)
      if (recorded_curve(key))
        entry("curve-" + slug(key) + "_" + slug(variant), curve_text(results.curve(variant, key)));
    if (const auto said = e.paper_numbers.find(variant); said != e.paper_numbers.end())
      all["paper_" + slug(variant)] = {{"value", said->second}, {"source", std::string(e.paper)}};
  }
  for (const auto& [key, value] : results.findings) entry(key, value);
  return all;
}

}  // namespace switchyard::reproduce
