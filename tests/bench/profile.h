// Where a step's time goes: the calls of several runs of it, gathered by kernel, and products by their shape.
#pragma once
#include <fmt/format.h>

#include <map>

#include "tests/bench/limits.h"
#include "tests/bench/timed_kernels.h"

namespace switchyard::bench {

// One run of a step.
struct StepRun {
  double seconds;
  double peak;  // the yardstick beside it, flop/s
  std::vector<Call> calls;
};

// "gemm nt 2048x768x256": C is 2048 x 768, and of the operands the second is transposed. "grouped_forward 8e ..": eight
// experts together; there the name says what is transposed. Others by their name.
inline std::string text(std::string_view kernel, const Product& p) {
  if (p.M == 0) return std::string(kernel);
  const std::string form = kernel.starts_with("grouped")
                               ? fmt::format("{}e", p.E)
                               : fmt::format("{}{}", p.transpose_a ? 't' : 'n', p.transpose_b ? 't' : 'n');
  return fmt::format("{} {} {}x{}x{}", kernel, form, p.M, p.N, p.K);
}

// A line of the report; every number is of one step and the median of its runs.
struct Row {
  std::string_view kernel;
  Product product;
  size_t element = 4;
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
  double of_step = 0, of_limit = 0;  // shares: of the step's time, and the least time over the row's
  double of_yardstick = 0;           // its rate, as a multiple of the yardstick's
  int by = -1;                       // what limits most of it: the level's index, or -1 for arithmetic
  std::string name() const { return text(kernel, product); }
};

struct Profile {
  std::vector<Row> rows;  // by falling time
  double seconds = 0, outside = 0, of_limit = 0;
};

// What one run adds to a row.
struct RowSum {
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0, yardstick_flops = 0;
  std::map<int, double> by = {};  // the yardstick's operations by what limits
};
using RowSums = std::map<std::tuple<std::string_view, Product, size_t>, RowSum>;

inline RowSums sum_rows(const std::vector<Call>& calls, const Limits& limits) {
  RowSums sums;
  for (const Call& call : calls) {
    const Bound bound = bound_of(call.cost, call.element, limits);
    RowSum& sum = sums[{call.kernel, call.cost.product, call.element}];
    ++sum.calls;
    sum.seconds += call.seconds, sum.flops += call.cost.flops, sum.bytes += call.cost.bytes();
    sum.yardstick_flops += bound.yardstick_flops, sum.by[bound.by] += bound.yardstick_flops;
  }
  return sums;
}

// `runs` must not be empty. What the last run has no call of is left out.
inline Profile profile_of(const std::vector<StepRun>& runs, const Limits& limits) {
  std::vector<RowSums> sums;
  for (const StepRun& run : runs) sums.push_back(sum_rows(run.calls, limits));
  const auto over_runs = [&](auto f) {
    std::vector<double> values;
    for (size_t i = 0; i < runs.size(); ++i) values.push_back(f(runs[i], sums[i]));
    return median(values);
  };
  const auto in_calls = [](const RowSums& all, auto member) {
    double total = 0;
    for (const auto& [key, sum] : all) total += sum.*member;
    return total;
  };
  Profile profile;
  profile.seconds = over_runs([](const StepRun& run, const RowSums&) { return run.seconds; });
  profile.outside =
      over_runs([&](const StepRun& run, const RowSums& all) { return run.seconds - in_calls(all, &RowSum::seconds); });
  profile.of_limit = over_runs([&](const StepRun& run, const RowSums& all) {
    return in_calls(all, &RowSum::yardstick_flops) / (run.peak * run.seconds);
  });
  for (const auto& [key, last] : sums.back()) {
    Row row{std::get<0>(key), std::get<1>(key), std::get<2>(key), last.calls};
    row.flops = last.flops, row.bytes = last.bytes;
    const auto of = [&key = key](const RowSums& all) { return all.contains(key) ? all.at(key) : RowSum{}; };
    row.seconds = over_runs([&](const StepRun&, const RowSums& all) { return of(all).seconds; });
    row.of_step = over_runs([&](const StepRun& run, const RowSums& all) { return of(all).seconds / run.seconds; });
    row.of_limit = over_runs([&](const StepRun& run, const RowSums& all) {
      const RowSum sum = of(all);
      return sum.seconds > 0 ? sum.yardstick_flops / (run.peak * sum.seconds) : 0;
    });
    row.of_yardstick = over_runs([&](const StepRun& run, const RowSums& all) {
      const RowSum sum = of(all);
      return sum.seconds > 0 ? sum.flops / (run.peak * sum.seconds) : 0;
    });
    const auto more = [](const auto& a, const auto& b) { return a.second < b.second; };
    row.by = std::max_element(last.by.begin(), last.by.end(), more)->first;
    profile.rows.push_back(row);
  }
  std::sort(profile.rows.begin(), profile.rows.end(), [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return profile;
}

}  // namespace switchyard::bench
