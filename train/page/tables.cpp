// Several runs side by side: what they came to, and how they were configured.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "moe/config_io.h"
#include "train/page/curve.h"
#include "train/page/summary.h"

namespace switchyard::page {
namespace {

struct Row {
  std::string name;
  std::vector<std::string> values;  // of each run; "" is not known
  bool differs() const {            // among those that are known
    std::vector<std::string> known = values;
    std::erase(known, "");
    return std::any_of(known.begin(), known.end(), [&](const std::string& v) { return v != known[0]; });
  }
};

std::string table(const std::vector<Run>& runs, const std::vector<Row>& rows, bool mark) {
  std::string out = R"(<div class="scroll"><table><thead><tr><td></td>)";
  for (size_t r = 0; r < runs.size(); ++r)
    out += fmt::format(R"(<th scope="col"><i class="swatch s{}"></i>{}</th>)", r, html(runs[r].name));
  out += "</tr></thead><tbody>";
  for (const Row& row : rows) {
    out += fmt::format(R"(<tr{}><th scope="row">{}</th>)", mark && row.differs() ? R"( class="differs")" : "",
                       html(row.name));
    for (const std::string& value : row.values) out += "<td>" + (value.empty() ? "–" : html(value)) + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table></div>\n";
}

std::string known(double x) { return std::isfinite(x) ? short_text(x) : ""; }
std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : ""; }

std::string data_of(const RunConfig& config) {
  if (config.source.built_in()) return "the built-in corpus";
  std::string names;
  for (const auto& file : config.source.files) names += (names.empty() ? "" : ", ") + file.string();
  return names + (config.source.conversations ? ", the answers of its conversations" : "");
}

// The text and the fields of both configurations, as rows.
std::vector<Row> configuration(const std::vector<Run>& runs) {
  std::vector<Row> rows;
  for (const Run& run : runs) {
    RunConfig config = run.config.value_or(RunConfig());
    size_t row = 0;
    const auto put = [&](const std::string& name, const std::string& value) {
      if (row == rows.size()) rows.push_back({name, {}});
      rows[row++].values.push_back(run.config ? value : "");
    };
    put("data", data_of(config));
    put("frozen", config.freeze.empty() ? "none" : fmt::format("{}", fmt::join(config.freeze, ", ")));
    put("teacher", config.teacher
                       ? fmt::format("{}, a share of {}", config.teacher->dir.string(), config.teacher->share)
                       : "none");
    for (const Field& field : list_fields(config.model)) put(field.name, value_text(field.get()));
    for (const Field& field : list_fields(config.train)) put(field.name, value_text(field.get()));
  }
  return rows;
}

}  // namespace

std::string results_table(const std::vector<Run>& runs) {
  std::vector<Row> rows;
  const auto add = [&](const char* name, auto&& value) {
    Row row{name, {}};
    for (const Run& run : runs) row.values.push_back(value(run, tail_of(run)));
    if (std::any_of(row.values.begin(), row.values.end(), [](const std::string& v) { return !v.empty(); }))
      rows.push_back(std::move(row));
  };
  const auto in_tail = [&](const char* name, const std::function<double(const StepLine&)>& value) {
    add(name, [&](const Run& run, Tail t) { return known(mean_of(run.steps, t.from, t.to, value)); });
  };
  const auto evaluated = [](const Run& run, double EvaluationLine::*field) {
    return run.evaluations.empty() ? "" : known(run.evaluations.back().*field);
  };
  const auto layers = [](const std::vector<double>& x, bool sum) {
    double total = 0, most = unknown;
    for (double v : x) total += v, most = v > most || std::isnan(most) ? v : most;
    return x.empty() ? unknown : sum ? total : most;
  };
  add("steps", [](const Run& run, Tail) { return std::to_string(run.steps.back().step); });
  add("training loss, last tenth, nats per token", [](const Run& run, Tail t) {
    return short_text(mean_of(run.steps, t.from, t.to, [](auto& s) { return s.loss; }));
  });
  add("validation loss, nats per token", [&](const Run& run, Tail) { return evaluated(run, &EvaluationLine::loss); });
  add("above the floor, nats per byte",
      [&](const Run& run, Tail) { return evaluated(run, &EvaluationLine::above_floor); });
  add("floor, nats per token", [](const Run& run, Tail) { return known(run.floor); });
  add("parameters", [](const Run& run, Tail) { return known(run.parameters); });
  add("active per token", [](const Run& run, Tail) { return known(run.active); });
  add("training FLOPs per token", [](const Run& run, Tail) { return known(run.flops_per_token); });
  add("training time", [](const Run& run, Tail) {
    const std::vector<double> seconds = places(run, Scale::seconds);
    return seconds.empty() ? "" : duration_text(seconds.back());
  });
  add("tokens a second, last tenth", [](const Run& run, Tail t) {
    return known(run.tokens_per_step / mean_of(run.steps, t.from, t.to, [](auto& s) { return s.seconds; }));
  });
  in_tail("busiest expert over the mean, worst layer, last tenth",
          [&](const StepLine& s) { return layers(s.max_over_mean, false); });
  in_tail("experts without a token in a step, all layers, last tenth",
          [&](const StepLine& s) { return layers(s.dead, true); });
  add("proposals dropped, last tenth",
      [](const Run& run, Tail t) { return percent(mean_of(run.steps, t.from, t.to, dropped_share)); });
  add("steps whose gradient was clipped", [](const Run& run, Tail) { return percent(clipped_share(run)); });
  return table(runs, rows, false);
}

std::string differences_table(const std::vector<Run>& runs) {
  std::vector<Row> rows = configuration(runs);
  std::erase_if(rows, [](const Row& row) { return !row.differs(); });
  return rows.empty() ? "" : table(runs, rows, false);
}

std::string configuration_table(const std::vector<Run>& runs) {
  return table(runs, configuration(runs), runs.size() > 1);
}

}  // namespace switchyard::page
