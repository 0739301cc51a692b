#include "train/page/summary.h"

#include <algorithm>
#include <cmath>

#include "train/cost_table.h"
#include "train/page/curve.h"

namespace switchyard::page {
namespace {

// When a number asks for attention. They are rules of thumb: what a healthy run of the demo stays well clear of.
constexpr double loss_rose = 1.1;           // last tenth over the best tenth
constexpr double jump = 1.5;                // a step's loss over the mean of the ten before
constexpr double above_start = 1.03;        // a step's loss over what knowing nothing costs
constexpr double below_floor = 0.98;        // training loss over the floor: less is no noise
constexpr double below_floor_byte = 0.004;  // nats per byte that a validation text's loss may lie below its floor
constexpr double validation_rose = 1.01;    // last validation loss over the best one
constexpr double validation_gap = 0.2;      // validation minus training loss, as a share of the first
constexpr double hardly_learnt = 0.75;      // last tenth of the loss over the first step's
constexpr double still_falling = 0.15;      // the loss's fall in the second half of the steps over that in the first
constexpr double busy = 2.5;                // busiest expert over the mean
constexpr double idle = 0.1;                // an expert's load over the mean
constexpr double drops = 0.01;              // share of the proposals
constexpr double undecided = 0.97;          // entropy over that of a router that knows nothing
constexpr double certain = 0.2;             // the same, of a router that no token leaves in doubt
constexpr double outweighs = 0.3;           // the weighted balance loss over the cross-entropy
constexpr double often_clipped = 0.5;       // share of the steps

using Findings = std::vector<std::string>;

double loss(const StepLine& s) { return s.loss; }

// Numbers of layers or experts: "2", "2 and 5", "2, 5 and 7".
std::string list(const std::vector<size_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 == numbers.size() ? " and " : ", ", numbers[i]);
  return text;
}

std::string layers(const std::vector<size_t>& numbers) {
  return (numbers.size() == 1 ? "layer " : "layers ") + list(numbers);
}

// What a model pays that knows nothing: the loss of the first step, or of an even guess if the run began knowing more.
double loss_of_nothing(const Run& run) {
  const double first = run.steps[0].loss;
  return run.config ? std::max(first, std::log(double(run.config->model.vocab))) : first;
}

void look_for_jumps(const Run& run, Findings& out) {
  const auto top = std::max_element(run.steps.begin(), run.steps.end(),
                                    [](const StepLine& a, const StepLine& b) { return a.loss < b.loss; });
  if (top->loss > above_start * loss_of_nothing(run))
    out.push_back(
        fmt::format("The loss rose above where it began, to {} at step {}. A learning rate that is too high "
                    "does this.",
                    short_text(top->loss), top->step));
  int64_t jumps = 0, first_jump = 0;
  for (size_t i = 10; i < run.steps.size(); ++i)
    if (run.steps[i].loss > jump * mean_of(run.steps, i - 10, i, loss)) {
      if (jumps == 0) first_jump = run.steps[i].step;
      ++jumps;
    }
  if (jumps > 0)
    out.push_back(
        fmt::format("The loss jumped by more than half in {} of the steps, first at step {}. A learning rate "
                    "that is too high does this.",
                    jumps, first_jump));
}

void look_for_divergence(const Run& run, Findings& out) {
  const auto broken =
      std::find_if(run.steps.begin(), run.steps.end(), [](const StepLine& s) { return !std::isfinite(s.loss); });
  if (broken != run.steps.end()) {
    const auto count =
        std::count_if(run.steps.begin(), run.steps.end(), [](const StepLine& s) { return !std::isfinite(s.loss); });
    out.push_back(fmt::format("The loss is not a number in {} of the steps, first at step {}{}.", with_commas(count),
                              broken->step, std::isfinite(run.steps.back().loss) ? "" : ": the run diverged"));
  }
  if (run.steps.size() < 20) return;
  double best = INFINITY, last = unknown;
  for (size_t part = 0; part < 10; ++part) {
    last = mean_of(run.steps, run.steps.size() * part / 10, run.steps.size() * (part + 1) / 10, loss);
    if (last < best) best = last;
  }
  if (last > loss_rose * best)
    out.push_back(fmt::format("The training loss rose: {} in its best tenth of the steps, {} in the last.",
                              short_text(best), short_text(last)));
}

// Whether next to nothing was learnt; and if so, whether the loss was still on its way down.
bool has_hardly_learnt(const Run& run) {
  const Tail tail = tail_of(run);
  return mean_of(run.steps, tail.from, tail.to, loss) > hardly_learnt * run.steps[0].loss;
}
void look_for_slowness(const Run& run, Findings& out) {
  if (run.steps.size() < 20 || !has_hardly_learnt(run)) return;
  const size_t n = run.steps.size(), part = n / 10;
  const double first = run.steps[0].loss, middle = mean_of(run.steps, n / 2 - part / 2, n / 2 + part - part / 2, loss);
  const double last = mean_of(run.steps, n - part, n, loss);
  if (middle - last > still_falling * (first - middle))
    out.push_back(
        fmt::format("The loss has come down from {} to {} only, and was still falling. A learning rate that is too low "
                    "does this, or too few steps.",
                    short_text(first), short_text(last)));
}

void look_below_the_floor(const Run& run, Findings& out) {
  const Tail tail = tail_of(run);
  const double train = mean_of(run.steps, tail.from, tail.to, loss);
  const double above = run.evaluations.empty() ? unknown : run.evaluations.back().above_floor;
  if (above < -below_floor_byte)
    out.push_back(
        fmt::format("The validation loss lies {} nats per byte below the floor. No honest model can do that: "
                    "look for a leak from the answer into the question.",
                    short_text(-above)));
  else if (run.has_floor() && train < below_floor * run.floor)
    out.push_back(
        fmt::format("The training loss, {}, lies below the floor, {}: the model has learnt its text by heart, "
                    "or sees what it should predict.",
                    short_text(train), short_text(run.floor)));
}

void look_for_overfitting(const Run& run, Findings& out) {
  if (run.evaluations.empty()) return;
  const auto best = std::min_element(run.evaluations.begin(), run.evaluations.end(),
                                     [](const auto& a, const auto& b) { return a.loss < b.loss; });
  const double last = run.evaluations.back().loss;
  if (last > validation_rose * best->loss)
    out.push_back(
        fmt::format("The validation loss was best at step {} ({}) and is {} now: from there on the run learnt "
                    "what does not carry over.",
                    best->step, short_text(best->loss), short_text(last)));
  const Tail tail = tail_of(run);
  const double train = mean_of(run.steps, tail.from, tail.to, loss);
  if (last - train > validation_gap * last)
    out.push_back(
        fmt::format("Validation loss {} against training loss {}: the model knows the text that it trains on "
                    "better than its language.",
                    short_text(last), short_text(train)));
}

// [layer][expert] proposals in the tail, as multiples of the layer's mean.
std::vector<std::vector<double>> load_in_tail(const Run& run) {
  const Tail tail = tail_of(run);
  std::vector<std::vector<double>> load;
  for (size_t i = tail.from; i < tail.to; ++i) {
    load.resize(std::max(load.size(), run.steps[i].load.size()));
    for (size_t layer = 0; layer < run.steps[i].load.size(); ++layer) {
      const auto& row = run.steps[i].load[layer];
      load[layer].resize(std::max(load[layer].size(), row.size()));
      for (size_t e = 0; e < row.size(); ++e) load[layer][e] += row[e];
    }
  }
  for (auto& row : load) {
    double mean = 0;
    for (double l : row) mean += l / double(row.size());
    for (double& l : row) l = mean > 0 ? l / mean : 0;
  }
  return load;
}

void look_at_load(const Run& run, Findings& out) {
  const auto load = load_in_tail(run);
  double most = 0;
  size_t where = 0;
  for (size_t layer = 0; layer < load.size(); ++layer) {
    std::vector<size_t> dead, hungry;
    for (size_t e = 0; e < load[layer].size(); ++e) {
      if (load[layer][e] == 0)
        dead.push_back(e);
      else if (load[layer][e] < idle)
        hungry.push_back(e);
      if (load[layer][e] > most) most = load[layer][e], where = layer;
    }
    if (!dead.empty())
      out.push_back(fmt::format("{} of {} experts of layer {} got no token in the last tenth: {}.", dead.size(),
                                load[layer].size(), layer, list(dead)));
    if (!hungry.empty())
      out.push_back(fmt::format("{} of {} experts of layer {} got less than a tenth of an even part: {}.",
                                hungry.size(), load[layer].size(), layer, list(hungry)));
  }
  if (most > busy)
    out.push_back(fmt::format("The busiest expert of layer {} gets {:.1f} times the even part.", where, most));
}

// A layer's entropy in the last tenth, as a share of that of an even draw.
double entropy_share(const Run& run, size_t layer) {
  const Tail tail = tail_of(run);
  return mean_of(run.steps, tail.from, tail.to, [layer](const StepLine& s) {
    if (layer >= s.entropy.size() || layer >= s.load.size() || s.load[layer].size() < 2) return unknown;
    return s.entropy[layer] / std::log(double(s.load[layer].size()));
  });
}

// The balance loss with its coefficient over the cross-entropy, in the last tenth; 0 without one.
double weight_of_balance(const Run& run) {
  if (!run.config) return 0;
  const Tail tail = tail_of(run);
  const double balance = mean_of(run.steps, tail.from, tail.to, [](const StepLine& s) {
    const auto named = std::find_if(s.aux.begin(), s.aux.end(), [](const auto& a) { return a.first == "balance"; });
    return named == s.aux.end() ? 0 : named->second;
  });
  return run.config->model.balance * balance / mean_of(run.steps, tail.from, tail.to, loss);
}

void look_at_routing(const Run& run, Findings& out) {
  const Tail tail = tail_of(run);
  //@begin routing-found
  std::vector<size_t> vague, sure;
  for (size_t i = 0; i < run.steps.back().entropy.size(); ++i) {
    const double share = entropy_share(run, i);  // of an even draw's
    if (share > undecided) vague.push_back(i);
    if (share < certain) sure.push_back(i);
  }
  //@end routing-found
  if (!vague.empty() && !has_hardly_learnt(run))  // before anything is learnt all routers are vague
    out.push_back(fmt::format("The routing of {} hardly tells tokens apart: its entropy is that of an even draw.",
                              layers(vague)));
  if (const double weight = weight_of_balance(run); weight > outweighs)
    out.push_back(
        fmt::format("The balance loss, weighted, is {:.1f} times the loss itself: routers learn to be even, and little "
                    "else.",
                    weight));
  if (!sure.empty())
    out.push_back(
        fmt::format("The routing of {} leaves no doubt: its entropy is under a fifth of an even draw's, "
                    "so it learns little more.",
                    layers(sure)));
  const double dropped = mean_of(run.steps, tail.from, tail.to, dropped_share);
  if (dropped > drops)
    out.push_back(
        fmt::format("{:.1f} % of the proposals found no room in their expert and were dropped.", 100 * dropped));
}

void look_at_gradients(const Run& run, Findings& out) {
  if (const double share = clipped_share(run); share > often_clipped)
    out.push_back(fmt::format("The gradient was cut down to --clip in {:.0f} % of the steps.", 100 * share));
}

std::string domains_said(EvaluationLine e) {
  std::erase_if(e.domains, [](const auto& domain) { return !std::isfinite(domain.second); });
  if (e.domains.size() < 2) return "";
  const auto [least, most] = std::minmax_element(e.domains.begin(), e.domains.end(),
                                                 [](const auto& a, const auto& b) { return a.second < b.second; });
  return fmt::format(" Nearest to it: {} ({:+.3f}); farthest: {} ({:+.3f}).", least->first, least->second, most->first,
                     most->second);
}

}  // namespace

Tail tail_of(const Run& run) {
  const size_t n = run.steps.size();
  return {n - std::max<size_t>(1, n / 10), n};
}

double dropped_share(const StepLine& s) {
  double dropped = 0, proposed = 0;
  for (double d : s.dropped) dropped += d;
  for (const auto& layer : s.load)
    for (float l : layer) proposed += l;
  return proposed > 0 ? dropped / proposed : unknown;
}

double clipped_share(const Run& run) {
  if (!run.config) return unknown;
  const double clip = run.config->train.clip;
  return mean_of(run.steps, 0, run.steps.size(),
                 [clip](const StepLine& s) { return std::isnan(s.gradient_norm) ? unknown : s.gradient_norm > clip; });
}

Summary summarise(const Run& run) {
  const Tail tail = tail_of(run);
  const StepLine& last = run.steps.back();
  std::string said = run.planned > last.step
                         ? fmt::format("{} of {} steps", with_commas(last.step), with_commas(run.planned))
                         : fmt::format("{} steps", with_commas(last.step));
  const std::vector<double> seconds = places(run, Scale::seconds);
  if (run.tokens_per_step > 0)
    said += fmt::format(" of {} tokens", with_commas(static_cast<int64_t>(run.tokens_per_step)));
  if (!seconds.empty()) said += fmt::format(" in {} of training", duration_text(seconds.back()));
  said += fmt::format(". Training loss {} at first, {} in the last tenth.", short_text(run.steps.front().loss),
                      short_text(mean_of(run.steps, tail.from, tail.to, loss)));
  if (!run.evaluations.empty()) {
    const EvaluationLine& e = run.evaluations.back();
    said += fmt::format(" Validation loss {}", short_text(e.loss));
    if (std::isfinite(e.above_floor)) said += fmt::format(", {:+.3f} nats per byte above the floor", e.above_floor);
    said += "." + domains_said(e);
  }
  Summary summary{std::move(said), {}};
  look_for_divergence(run, summary.findings);
  look_for_jumps(run, summary.findings);
  look_for_slowness(run, summary.findings);
  look_below_the_floor(run, summary.findings);
  look_for_overfitting(run, summary.findings);
  look_at_load(run, summary.findings);
  look_at_routing(run, summary.findings);
  look_at_gradients(run, summary.findings);
  if (!run.events.empty())
    summary.findings.push_back(
        fmt::format("{} noted while it trained; see What happened.",
                    run.events.size() == 1 ? "One thing was" : fmt::format("{} things were", run.events.size())));
  return summary;
}

}  // namespace switchyard::page
