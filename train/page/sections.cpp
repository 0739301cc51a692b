#include "train/page/sections.h"

#include <algorithm>
#include <cmath>

#include "train/page/chart.h"
#include "train/page/summary.h"

namespace switchyard::page {
namespace {

constexpr size_t parts = 300;  // points of a curve: one for every two places on a screen

std::string heading(const char* title, const std::string& said) {
  return fmt::format("<h2>{}</h2>\n<p class=\"lead\">{}</p>\n", title, said);
}

std::string figure(const std::string& svg, const std::string& kind = "") {
  return svg.empty() ? "" : fmt::format("<figure{}>{}</figure>\n", kind, svg);
}

// Each run's curve over the steps, or over what `scale` says they stand for.
std::vector<Series> per_step(const Runs& runs, const std::function<double(const StepLine&)>& value,
                             Scale scale = Scale::steps) {
  std::vector<Series> series;
  for (size_t r = 0; r < runs.size(); ++r) {
    const std::vector<double> x = places(runs[r], scale);
    if (!x.empty()) series.push_back({runs[r].name, int(r), thin(x, runs[r].steps, value, parts)});
  }
  return series;
}

std::vector<Series> per_layer(const Runs& runs, const std::function<std::vector<double>(const StepLine&)>& value) {
  std::vector<Series> series;
  for (size_t r = 0; r < runs.size(); ++r)
    series.push_back({runs[r].name, int(r), thin_layers(places(runs[r], Scale::steps), runs[r].steps, value, parts)});
  return series;
}

std::vector<Series> per_evaluation(const Runs& runs,
                                   const std::function<double(const Run&, const EvaluationLine&)>& value,
                                   Scale scale = Scale::steps) {
  std::vector<Series> series;
  for (size_t r = 0; r < runs.size(); ++r) {
    const std::vector<double> all = places(runs[r], scale);
    std::vector<double> x, y;
    for (const EvaluationLine& e : runs[r].evaluations) {
      x.push_back(place_of(runs[r], all, e.step));
      y.push_back(value(runs[r], e));
    }
    if (!all.empty()) series.push_back({runs[r].name, int(r), thin(x, y, parts), x.size() <= 40});
  }
  return series;
}

// A level of each run; one for all where they are the same.
std::vector<Reference> levels(const Runs& runs, const char* label, const std::function<double(const Run&)>& level) {
  std::vector<Reference> result;
  for (size_t r = 0; r < runs.size(); ++r) {
    const double y = level(runs[r]);
    if (!std::isfinite(y)) continue;
    if (!result.empty() && std::abs(y - result[0].y) <= 1e-3 * std::abs(y))
      result[0].style = -1;
    else
      result.push_back({y, label, runs.size() == 1 ? -1 : int(r)});
  }
  return result;
}

// Validation minus training loss; the training loss is the mean over the last steps before.
double generalisation_gap(const Run& run, const EvaluationLine& e) {
  const auto end = std::upper_bound(run.steps.begin(), run.steps.end(), e.step,
                                    [](int64_t step, const StepLine& s) { return step < s.step; });
  const auto to = static_cast<size_t>(end - run.steps.begin());
  const size_t from = to - std::min<size_t>(to, std::max<size_t>(1, run.steps.size() / 20));
  return e.loss - mean_of(run.steps, from, to, [](const StepLine& s) { return s.loss; });
}

std::string loss_charts(const Runs& runs, Scale scale) {
  const std::string kind = fmt::format(R"( class="by by-{}")", name(scale));
  const std::vector<Reference> floor = levels(runs, "floor", [](const Run& run) { return run.floor; });
  const char* unit = "nats per token";
  const std::string training = draw(LineChart{.title = "Training loss",
                                              .x_title = title(scale),
                                              .y_title = unit,
                                              .series = per_step(
                                                  runs, [](auto& s) { return s.loss; }, scale),
                                              .references = floor,
                                              .log_y = true});
  if (training.empty()) return fmt::format("<figure{}>No run tells this.</figure>\n", kind);
  const auto validation = per_evaluation(
      runs, [](auto&, auto& e) { return e.loss; }, scale);
  return figure(training, kind) + figure(draw(LineChart{.title = "Validation loss",
                                                        .x_title = title(scale),
                                                        .y_title = unit,
                                                        .series = validation,
                                                        .references = floor,
                                                        .log_y = true}),
                                         kind);
}

bool any(const Runs& runs, const std::function<bool(const Run&)>& f) {
  return std::any_of(runs.begin(), runs.end(), f);
}
bool mixture(const Run& run) { return !run.steps.back().load.empty(); }

// The load of each expert of a layer in equal parts of the steps, as multiples of the even part.
HeatMap load_map(const Run& run, size_t layer, size_t columns) {
  const size_t experts = run.steps.back().load[layer].size(), n = run.steps.size();
  columns = std::min(columns, n);
  HeatMap map{fmt::format("Load of layer {}: {}", layer, run.name), "optimizer steps", "expert", {}, {}};
  map.rows.assign(experts, std::vector<double>(columns, 0));
  for (size_t c = 0; c < columns; ++c) {
    double sum = 0, places = 0;
    const size_t from = n * c / columns, to = n * (c + 1) / columns;
    for (size_t i = from; i < to; ++i) {
      places += double(run.steps[i].step);
      if (layer >= run.steps[i].load.size() || run.steps[i].load[layer].size() != experts) continue;
      for (size_t e = 0; e < experts; ++e) {
        map.rows[e][c] += run.steps[i].load[layer][e];
        sum += run.steps[i].load[layer][e];
      }
    }
    map.x.push_back(std::round(places / double(to - from)));
    for (auto& row : map.rows) row[c] = sum > 0 ? row[c] * double(experts) / sum : 0;
  }
  return map;
}

double even_entropy(const Run& run) {
  const auto& load = run.steps.back().load;
  return load.empty() ? unknown : std::log(double(load[0].size()));
}

std::string aux_charts(const Runs& runs) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    for (const auto& [aux, value] : run.steps.back().aux)
      if (std::find(names.begin(), names.end(), aux) == names.end()) names.push_back(aux);
  std::string out;
  for (const std::string& aux : names) {
    const auto value = [&](const StepLine& s) {
      for (const auto& [n, v] : s.aux)
        if (n == aux) return v;
      return unknown;
    };
    out += figure(draw(LineChart{.title = aux + " loss",
                                 .x_title = "optimizer steps",
                                 .y_title = aux == "balance" ? "unweighted; 1 is an even load" : "unweighted",
                                 .series = per_step(runs, value)}));
  }
  return out;
}

}  // namespace

std::string loss_section(const Runs& runs) {
  std::string out =
      heading("Loss",
              "How surprised the model is by the next token: cross-entropy alone, no auxiliary loss is in "
              "it. A line is a mean, the band behind it goes from the least to the greatest step of each "
              "stretch.");
  out += "<div>";
  static constexpr const char* labels[] = {"steps", "tokens", "FLOPs", "seconds"};
  for (int s = 0; s < scale_count; ++s)
    out += fmt::format(R"(<input class="choice" type="radio" name="by" id="by-{0}"{1}><label for="by-{0}">{2}</label>)",
                       name(static_cast<Scale>(s)), s == 0 ? " checked" : "", labels[s]);
  out += "<div class=\"grid\">\n";
  for (int s = 0; s < scale_count; ++s) out += loss_charts(runs, static_cast<Scale>(s));
  out += figure(draw(LineChart{.title = "Validation minus training loss",
                               .x_title = "optimizer steps",
                               .y_title = "nats per token; growing: learnt by heart",
                               .series = per_evaluation(runs, generalisation_gap)}));
  out += figure(draw(LineChart{.title = "Validation loss of the mean weights",
                               .x_title = "optimizer steps",
                               .y_title = "nats per token",
                               .series = per_evaluation(runs, [](auto&, auto& e) { return e.average_loss; }),
                               .log_y = true}));
  out += figure(draw(LineChart{.title = "Distance to the floor",
                               .x_title = "optimizer steps",
                               .y_title = "nats per byte above the floor",
                               .series = per_evaluation(runs, [](auto&, auto& e) { return e.above_floor; })}));
  return out + "</div></div>\n";
}

std::string floor_section(const Runs& runs) {
  if (!any(runs, [](const Run& run) { return !run.evaluations.empty() && run.evaluations.back().above_floor > -1e9; }))
    return "";
  std::string out = heading("Distance to the floor by domain",
                            "The floor is what the text's own randomness costs. No model can do better on text that it "
                            "has not seen, so the distance is what is left to learn. Below 0 something leaks.");
  double most = 0;
  for (const Run& run : runs)
    for (const EvaluationLine& e : run.evaluations)
      for (const auto& [domain, distance] : e.domains) most = std::max(most, distance);
  out += "<div class=\"grid small\">\n";
  for (int d = 0; d < domain_count; ++d) {
    const std::string domain = name(static_cast<Domain>(d));
    const auto value = [&](const Run&, const EvaluationLine& e) {
      for (const auto& [n, v] : e.domains)
        if (n == domain) return v;
      return unknown;
    };
    out += figure(draw(LineChart{.title = domain,
                                 .x_title = "optimizer steps",
                                 .y_title = "nats per byte above the floor",
                                 .series = per_evaluation(runs, value),
                                 .reach = most,
                                 .width = 260,
                                 .height = 200}));
  }
  return out + "</div>\n";
}

std::string load_section(const Runs& runs) {
  if (!any(runs, mixture)) return "";
  std::string out = heading("Load of the experts",
                            "A row is an expert, from left to right goes the training. The colour says how many tokens "
                            "asked for it, beside an even part. A row that stays at none is a dead expert.");
  out += R"(<div class="levels"><span>times the even part:</span>)";
  for (int level = 0; level < fair_levels; ++level)
    out += fmt::format(R"x(<span><i style="background:var(--h{})"></i>{}</span>)x", level, fair_label(level));
  out += "</div>\n";
  for (const Run& run : runs) {
    if (!mixture(run)) continue;
    const auto& load = run.steps.back().load;
    if (runs.size() > 1) out += fmt::format("<h3>{}</h3>\n", html(run.name));
    const size_t cells = load.size() * std::max<size_t>(1, load[0].size());
    out += "<div class=\"grid\">\n";
    for (size_t layer = 0; layer < load.size(); ++layer)
      out += figure(draw(load_map(run, layer, std::clamp<size_t>(12'000 / cells, 24, 100))));
    out += "</div>\n";
  }
  return out;
}

std::string router_section(const Runs& runs) {
  if (!any(runs, mixture)) return "";
  const auto chart = [&](const char* title, const char* y_title, std::vector<Series> series,
                         std::vector<Reference> references = {}) {
    return figure(draw(LineChart{.title = title,
                                 .x_title = "optimizer steps",
                                 .y_title = y_title,
                                 .series = std::move(series),
                                 .references = std::move(references)}));
  };
  std::string out =
      heading("Routing", "Lines are means over the layers; the band goes from the lowest to the highest layer.");
  out += "<div class=\"grid\">\n";
  out += chart("Busiest expert", "its load over the mean load; 1 is even",
               per_layer(runs, [](auto& s) { return s.max_over_mean; }));
  out += chart("Experts without a token", "experts of a layer, in one step",
               per_layer(runs, [](auto& s) { return s.dead; }));
  out += chart("Entropy of the router", "nats; low: decided, highest: an even draw",
               per_layer(runs, [](auto& s) { return s.entropy; }), levels(runs, "an even draw", even_entropy));
  out += chart("Dropped proposals", "percent of all proposals",
               per_step(runs, [](const StepLine& s) { return 100 * dropped_share(s); }));
  return out + aux_charts(runs) + "</div>\n";
}

std::string optimizer_section(const Runs& runs) {
  const auto chart = [&](const char* title, const char* y_title, const std::function<double(const StepLine&)>& value,
                         bool log_y, std::vector<Reference> references = {}) {
    return figure(draw(LineChart{.title = title,
                                 .x_title = "optimizer steps",
                                 .y_title = y_title,
                                 .series = per_step(runs, value),
                                 .references = std::move(references),
                                 .log_y = log_y}));
  };
  std::string out = heading("Optimizer and speed",
                            "The gradient's norm before it is clipped, with the limit; how fast the weights may move; "
                            "and how many tokens a second the steps alone took, without evaluations.");
  out += "<div class=\"grid\">\n";
  out += chart(
      "Gradient norm", "norm of all gradients together", [](auto& s) { return s.gradient_norm; }, true,
      levels(runs, "--clip", [](const Run& run) { return run.config ? run.config->train.clip : unknown; }));
  out += chart(
      "Noise scale", "sequences; a batch far below it is mostly noise", [](auto& s) { return s.noise_scale; }, true);
  std::vector<Series> clipped;
  for (size_t r = 0; r < runs.size(); ++r)
    if (runs[r].config)
      clipped.push_back({runs[r].name, int(r),
                         thin(
                             places(runs[r], Scale::steps), runs[r].steps,
                             [clip = runs[r].config->train.clip](const StepLine& s) {
                               return std::isnan(s.gradient_norm) ? unknown : 100.0 * (s.gradient_norm > clip);
                             },
                             std::min<size_t>(50, std::max<size_t>(1, runs[r].steps.size() / 10)))});
  for (Series& s : clipped)
    for (Point& p : s.curve) p.low = p.high = p.mean;  // a step is clipped or not: a band says nothing
  out += figure(draw(LineChart{.title = "Clipped steps",
                               .x_title = "optimizer steps",
                               .y_title = "percent of the steps",
                               .series = std::move(clipped)}));
  out += chart(
      "Learning rate", "rate", [](auto& s) { return s.rate; }, false);
  std::vector<Series> speed;
  for (size_t r = 0; r < runs.size(); ++r)
    speed.push_back({runs[r].name, int(r),
                     thin(
                         places(runs[r], Scale::steps), runs[r].steps,
                         [&](const StepLine& s) { return runs[r].tokens_per_step / s.seconds; }, parts)});
  out += figure(draw(LineChart{
      .title = "Speed", .x_title = "optimizer steps", .y_title = "tokens per second", .series = std::move(speed)}));
  return out + "</div>\n";
}

}  // namespace switchyard::page
