// From the numbers of a run to what a chart draws: curves of a few hundred points, round ticks, and texts.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "train/page/run_data.h"

namespace switchyard::page {

// A part of a curve: its mean place, and mean, least and greatest of its values. All `unknown` where none is finite.
struct Point {
  double x = 0, mean = 0, low = 0, high = 0;
};
using Curve = std::vector<Point>;

// What the steps stand for on the x axis.
enum class Scale { steps, tokens, flops, seconds, count };
constexpr int scale_count = static_cast<int>(Scale::count);
const char* name(Scale scale);   // "steps", for flags and ids
const char* title(Scale scale);  // "optimizer step", for an axis

// The place of each of the run's steps: seconds are added up, without those of evaluations. Empty where the run does
// not tell.
std::vector<double> places(const Run& run, Scale scale);
// The place of a step, which may lie between those that are known.
double place_of(const Run& run, const std::vector<double>& places, int64_t step);

// At most `parts` parts of as many steps each (one more or less). Values that are not finite stay out.
Curve thin(const std::vector<double>& x, const std::vector<double>& y, size_t parts);
Curve thin(const std::vector<double>& x, const std::vector<StepLine>& steps,
           const std::function<double(const StepLine&)>& value, size_t parts);

// Mean over the steps' layers with the least and the greatest of them, thinned.
Curve thin_layers(const std::vector<double>& x, const std::vector<StepLine>& steps,
                  const std::function<std::vector<double>(const StepLine&)>& value, size_t parts);

// About `wanted` round values (1, 2 or 5 times a power of ten) that span low .. high from outside.
std::vector<double> ticks(double low, double high, int wanted);
// The same for a logarithmic axis: powers of ten, with others between where there is room. 0 < low.
std::vector<double> log_ticks(double low, double high);

std::string short_text(double x);           // 4 digits at most and a unit: 1.5k, 0.25, 3e-05
std::string duration_text(double seconds);  // 1:31, 2:03:04
std::string html(std::string_view text);    // escaped for text and attributes; bytes that are no UTF-8 replaced
// Mean of the finite ones among the values of the steps from .. to; unknown if there are none.
double mean_of(const std::vector<StepLine>& steps, size_t from, size_t to,
               const std::function<double(const StepLine&)>& value);

}  // namespace switchyard::page
