// What the machine can do at most, where the time of a training step and of a decode step goes, part by part and kernel
// by kernel, and what share of its own limit each reaches.
//   ./run bench [--preset NAME] [--threads N] [--rounds N] [--compute f32|bf16] [--json] [--experts N, --ffn N, ...]
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "infer/flags.h"
#include "infer/generate.h"
#include "tests/bench/product_contest.h"
#include "tests/bench/step_parts.h"

namespace switchyard::bench {
namespace {

struct Options {
  std::string preset = "moe-step";
  int threads = switchyard::threads(), rounds = 7;
  Compute compute = Compute::f32;
  bool json = false;
};

template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, Options>
void visit(Config& c, F&& f) {
  f("threads", c.threads, 1, 1024, "threads of ours and of OpenBLAS");
  f("rounds", c.rounds, 1, 1000, "samples of each number; medians count");
  f("compute", c.compute, "what activations are and matrices are multiplied in");
  f("json", c.json, "end with one line of JSON");
}

// One line of a terminal that changes; a log gets a line for each part.
void progress(const std::string& part, int done, int of) {
  if (isatty(STDERR_FILENO))
    fmt::print(stderr, "\r\033[K{}", of == 0 ? "" : fmt::format("measuring {}: {} of {}", part, done, of));
  else if (of > 0 && done == 0)
    fmt::print(stderr, "measuring {}\n", part);
}

// ---- measuring

// Runs `step` some times, each time after `prepare`, with the yardstick before and behind it: for a twentieth of the
// step's time, for a glance would catch a neighbour, or miss it, that was there for part of the step.
std::vector<StepRun> run_steps(const std::string& name, int runs, const Options& options,
                               const std::function<void()>& prepare, const std::function<void()>& step) {
  std::vector<StepRun> list;
  double before = yardstick(options.threads);
  for (int i = 0; i < runs; ++i) {
    progress(name, i, runs);
    prepare();
    StepRun run{};
    {
      const TimedKernels<float> timed(run.calls);
      std::optional<TimedKernels<bf16>> also;
      if (options.compute == Compute::bf16) also.emplace(run.calls);
      const double start = now();
      step();
      run.seconds = now() - start;
    }
    const double behind = yardstick(options.threads, std::max(3e-3, run.seconds / 20));
    run.peak = (before + behind) / 2;
    before = behind;
    list.push_back(std::move(run));
  }
  return list;
}

struct Training {
  std::vector<StepRun> runs;
  std::vector<StepTrace> traces;  // of each run
};

Training training_runs(Transformer& model, const TrainConfig& train, const Options& options) {
  Optimizer optimizer(model, train);
  Random random{{1, 1}};
  Training training;
  for (int i = 0; i < 2; ++i) training_step(model, optimizer, train, random);
  const auto prepare = [&] { training.traces.emplace_back(); };
  training.runs = run_steps("the training step", options.rounds, options, prepare,
                            [&] { training_step(model, optimizer, train, random, &training.traces.back()); });
  return training;
}

// The run of median time, cut into parts.
struct StepParts {
  double seconds, peak;
  PartSums sums;
};

StepParts median_parts(const Training& training, Transformer& model, const Limits& limits) {
  std::vector<size_t> order(training.runs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return training.runs[a].seconds < training.runs[b].seconds; });
  const size_t middle = order[order.size() / 2];
  const StepRun& run = training.runs[middle];
  return {run.seconds, run.peak, parts_of(run, training.traces[middle], parameter_names(model), limits)};
}

// One token at a time behind half a context of others; none where the router cannot generate.
std::vector<StepRun> decode_runs(Transformer& model, const Options& options) {
  if (!model.causal()) return {};
  const int64_t context = model.config().context;
  std::optional<Decoder> decoder;
  std::vector<int32_t> half;
  for (int64_t i = 0; i < std::max<int64_t>(1, context / 2); ++i)
    half.push_back(static_cast<int32_t>(i * 7 % model.config().vocab));
  const auto prepare = [&] {
    if (decoder && decoder->length() < context) return;
    decoder.emplace(model);
    decoder->feed(half);
    if (decoder->length() < context) decoder->feed({half.data(), 1});  // warm, as in the middle of a text
  };
  return run_steps("the decode step", 8 * options.rounds, options, prepare, [&] { decoder->feed({half.data(), 1}); });
}

// Every product of the profiles once.
std::vector<Row> products_of(const std::vector<const Profile*>& profiles) {
  std::vector<Row> rows;
  for (const Profile* profile : profiles)
    for (const Row& row : profile->rows) {
      const auto same = [&](const Row& r) { return r.name() == row.name() && r.element == row.element; };
      if (row.product.M > 0 && std::none_of(rows.begin(), rows.end(), same)) rows.push_back(row);
    }
  return rows;
}

// ---- the report

std::string bound_name(int by, const Limits& limits) { return by < 0 ? "math" : limits.levels[size_t(by)].name; }

void print_limits(const Limits& limits) {
  fmt::print("limits\n  f32 multiply-adds {:.1f} GFLOP/s", limits.fma.absolute / 1e9);
  if (limits.dot) fmt::print("; bf16 dot products {:.1f}", limits.dot->absolute / 1e9);
  if (limits.tile) fmt::print("; bf16 tiles {:.1f}", limits.tile->absolute / 1e9);
  fmt::print("\n  {:22} {:>10} {:>10} {:>10}\n", "GB/s, all threads", "read", "copy", "triad");
  for (const Level& level : limits.levels) {
    const std::string size = std::isinf(level.bytes) ? "" : fmt::format("{:.0f} KB", level.bytes / 1024);
    fmt::print("  {:6} {:>15} {:10.1f} {:10.1f} {:10.1f}\n", level.name, size, level.read.absolute / 1e9,
               level.copy.absolute / 1e9, level.triad.absolute / 1e9);
  }
}

double of_limit(const PartSum& sum, double peak) {
  return sum.seconds() > 0 ? sum.yardstick_flops / (peak * sum.seconds()) : 0;
}

void print_parts(const std::string& title, const StepParts& parts, const Limits& limits) {
  const auto ms = [](double seconds) { return seconds > 0 ? fmt::format("{:.2f}", seconds * 1e3) : std::string(); };
  const auto line = [&](std::string_view name, const PartSum& sum, const std::string& rates) {
    const std::string row =
        fmt::format("{:22} {:>7} {:>7} {:7.2f} {:4.1f}% {}", name, ms(sum.forward), ms(sum.backward),
                    sum.seconds() * 1e3, 100 * sum.seconds() / parts.seconds, rates);
    fmt::print("{}\n", row.substr(0, row.find_last_not_of(' ') + 1));
  };
  fmt::print("\n{}, by part: {:.3f} ms, the run of median time\n", title, parts.seconds * 1e3);
  fmt::print("{:22} {:>7} {:>7} {:>7} {:>5} {:>7} {:>6} {:>4}\n", "part, ms", "forward", "back", "all", "time",
             "GFLOP/s", "GB/s", "limit");
  PartSum total;
  for (size_t i = 0; i < part_count; ++i) {
    const PartSum& sum = parts.sums[i];
    total.forward += sum.forward, total.backward += sum.backward, total.other += sum.other;
    if (sum.calls > 0)
      line(part_names[i], sum,
           fmt::format("{:7.1f} {:6.1f} {:3.0f}% {}", sum.flops / sum.seconds() / 1e9, sum.bytes / sum.seconds() / 1e9,
                       100 * of_limit(sum, parts.peak), bound_name(sum.limited_by(), limits)));
    else if (sum.seconds() > 0)
      line(part_names[i], sum, "");
  }
  line("sum", total, "");
}

// Rows below a thousandth of the step are counted together.
void print_profile(const std::string& title, const Profile& profile, const Limits& limits) {
  constexpr double little = 1e-3;
  fmt::print("\n{}: {:.3f} ms, {:.0f} % of its limit\n", title, profile.seconds * 1e3, 100 * profile.of_limit);
  fmt::print("{:40} {:>4} {:>8} {:>5} {:>7} {:>4}\n", "kernel", "runs", "ms", "time", "GFLOP/s", "limit");
  int64_t rest_calls = 0;
  double rest_seconds = 0, rest_share = 0;
  for (const Row& row : profile.rows) {
    if (row.of_step < little) {
      rest_calls += row.calls, rest_seconds += row.seconds, rest_share += row.of_step;
      continue;
    }
    fmt::print("{:40} {:4} {:8.3f} {:4.1f}% {:7.1f} {:3.0f}% {}\n", row.name(), row.calls, row.seconds * 1e3,
               100 * row.of_step, row.flops / row.seconds / 1e9, 100 * row.of_limit, bound_name(row.by, limits));
  }
  const auto line = [&](const char* name, const std::string& calls, double seconds, double share) {
    fmt::print("{:40} {:>4} {:8.3f} {:4.1f}%\n", name, calls, seconds * 1e3, 100 * share);
  };
  if (rest_calls > 0) line("kernels below 0.1 % each", fmt::format("{}", rest_calls), rest_seconds, rest_share);
  line("outside kernels", "", profile.outside, profile.outside / profile.seconds);
}

void print_contests(const std::vector<Contest>& contests) {
  const auto times = [](double ratio) { return ratio > 0 ? fmt::format("{:.2f}", ratio) : std::string("-"); };
  fmt::print("\nproducts alone; how many times as fast as the naive loop on one thread, and\nas {}\n",
             openblas_name().empty() ? "OpenBLAS, which was not found" : "OpenBLAS for " + openblas_name());
  fmt::print("{:40} {:>9} {:>5} {:>9} {:>9}\n", "product", "GFLOP/s", "limit", "naive", "OpenBLAS");
  for (const Contest& c : contests)
    fmt::print("{:40} {:9.1f} {:4.0f}% {:>9} {:>9}\n", c.name, c.rate / 1e9, 100 * c.of_yardstick, times(c.over_naive),
               times(c.over_openblas));
}

nlohmann::json to_json(const Rate& rate) { return {{"per_second", rate.absolute}, {"of_yardstick", rate.relative}}; }

nlohmann::json to_json(const Limits& limits) {
  nlohmann::json levels = nlohmann::json::array();
  for (const Level& level : limits.levels) {
    levels.push_back({{"name", level.name},
                      {"read", to_json(level.read)},
                      {"copy", to_json(level.copy)},
                      {"triad", to_json(level.triad)}});
    if (!std::isinf(level.bytes)) levels.back()["bytes"] = level.bytes;
  }
  nlohmann::json all = {{"fma", to_json(limits.fma)}, {"levels", levels}};
  if (limits.dot) all["bf16_dot"] = to_json(*limits.dot);
  if (limits.tile) all["bf16_tile"] = to_json(*limits.tile);
  return all;
}

nlohmann::json to_json(const StepParts& parts, const Limits& limits) {
  nlohmann::json rows = nlohmann::json::array();
  for (size_t i = 0; i < part_count; ++i) {
    const PartSum& sum = parts.sums[i];
    rows.push_back({{"part", part_names[i]},
                    {"calls", sum.calls},
                    {"forward_ms", sum.forward * 1e3},
                    {"backward_ms", sum.backward * 1e3},
                    {"ms", sum.seconds() * 1e3},
                    {"of_step", sum.seconds() / parts.seconds},
                    {"flops", sum.flops},
                    {"bytes", sum.bytes}});
    if (sum.calls == 0) continue;
    rows.back()["of_limit"] = of_limit(sum, parts.peak);
    rows.back()["by"] = bound_name(sum.limited_by(), limits);
  }
  return {{"ms", parts.seconds * 1e3}, {"parts", rows}};
}

nlohmann::json to_json(const Profile& profile, const Limits& limits) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : profile.rows)
    rows.push_back({{"kernel", row.kernel},
                    {"name", row.name()},
                    {"calls", row.calls},
                    {"ms", row.seconds * 1e3},
                    {"of_step", row.of_step},
                    {"of_limit", row.of_limit},
                    {"of_yardstick", row.of_yardstick},
                    {"flops", row.flops},
                    {"bytes", row.bytes},
                    {"by", bound_name(row.by, limits)}});
  return {{"ms", profile.seconds * 1e3},
          {"outside_ms", profile.outside * 1e3},
          {"of_limit", profile.of_limit},
          {"kernels", rows}};
}

nlohmann::json to_json(const std::vector<Contest>& contests) {
  nlohmann::json list = nlohmann::json::array();
  for (const Contest& c : contests) {
    list.push_back({{"name", c.name}, {"flops", c.flops}, {"per_second", c.rate}, {"of_yardstick", c.of_yardstick}});
    if (c.over_naive > 0) list.back()["over_naive"] = c.over_naive;
    if (c.over_openblas > 0) list.back()["over_openblas"] = c.over_openblas;
  }
  return list;
}

// "4 layers of width 256, 8 experts of 512, top-2": what the flags may have changed.
std::string model_text(const ModelConfig& c) {
  const std::string layers = fmt::format("{} layers of width {}", c.layers, c.width);
  if (c.dense()) return fmt::format("{}, dense", layers);
  return fmt::format("{}, {} experts of {}, top-{}", layers, c.experts, c.ffn, c.top_k);
}

void measure(const Options& options, const Preset& preset) {
  set_threads(options.threads);
  progress("the machine's limits", 0, 1);
  const Limits limits = measure_limits(options.threads, options.rounds);
  Transformer model(preset.model, 0, dtype_of(options.compute));
  model.see_text(std::vector<int64_t>(static_cast<size_t>(preset.model.vocab), 1));
  const Training runs = training_runs(model, preset.train, options);
  const Profile training = profile_of(runs.runs, limits);
  const StepParts parts = median_parts(runs, model, limits);
  const std::vector<StepRun> decoding = decode_runs(model, options);
  const Profile decode = decoding.empty() ? Profile{} : profile_of(decoding, limits);
  const std::vector<Contest> contests =
      run_contests(products_of({&training, &decode}), options.threads, options.rounds,
                   [&](int round) { progress("the products alone", round, options.rounds); });
  progress("", 0, 0);

  const std::string_view compute = EnumNames<Compute>::names[static_cast<size_t>(options.compute)];
  fmt::print("{}, {}, {} thread{}, {}\n", preset.name, compute, options.threads, options.threads > 1 ? "s" : "",
             cpu_isa());
  fmt::print("{}\n", model_text(preset.model));
  print_limits(limits);
  const int64_t tokens = preset.train.batch * preset.model.context;
  const std::string title = fmt::format("training step of {} tokens", tokens);
  print_parts(title, parts, limits);
  print_profile(title, training, limits);
  if (!decoding.empty()) print_profile("decode step of one token", decode, limits);
  print_contests(contests);
  fmt::print(
      "\nlimit: the least time over the time taken. What sets the least: the arithmetic\n"
      "(math), or the bytes, moved once in the smallest level that holds all of a\ncall's.\n");
  if (!options.json) return;
  nlohmann::json report = {{"preset", preset.name},
                           {"compute", compute},
                           {"threads", options.threads},
                           {"isa", cpu_isa()},
                           {"tokens", tokens},
                           {"openblas", openblas_name()},
                           {"limits", to_json(limits)},
                           {"training", to_json(training, limits)},
                           {"training_parts", to_json(parts, limits)},
                           {"products", to_json(contests)}};
  if (!decoding.empty()) report["decode"] = to_json(decode, limits);
  fmt::print("{}\n", report.dump());
}

int run(int argc, char** argv) {
  Options options;
  options.preset = early_flag(argc, argv, "--preset").value_or(options.preset);
  Preset preset = find_preset(options.preset);
  CLI::App app("What this machine can do, and where the time of a step goes", "./run bench");
  add_text_flag(app, "--preset", options.preset, "the model and its step; default: moe-step");
  add_flags(app, options);
  add_flags(app, preset.model, "Model");
  parse_flags(app, argc, argv);
  validate(preset.model);
  measure(options, preset);
  return 0;
}

}  // namespace
}  // namespace switchyard::bench

int main(int argc, char** argv) { return switchyard::run_program(argc, argv, switchyard::bench::run); }
