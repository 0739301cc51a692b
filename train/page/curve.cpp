#include "train/page/curve.h"

#include <algorithm>
#include <cmath>

#include "nn/utf8.h"

namespace switchyard::page {
namespace {

// Adds up a part of a curve.
struct Part {
  double x = 0, sum = 0, low = INFINITY, high = -INFINITY;
  int64_t places = 0, values = 0;
  void add(double place, double value, double least, double greatest) {
    //@begin add
    x += place, ++places;
    if (!std::isfinite(value)) return;
    sum += value, ++values;
    low = std::min(low, least), high = std::max(high, greatest);
    //@end add
  }
  Point point() const {
    if (values == 0) return {x / double(places), unknown, unknown, unknown};
    return {x / double(places), sum / double(values), low, high};
  }
};

// Calls add(i, part) for each of n values, cut into equal parts.
template <class Add>
Curve in_parts(size_t n, size_t parts, Add&& add) {
  //@begin parts
  Curve curve;
  const size_t count = std::min(n, parts);
  for (size_t p = 0; p < count; ++p) {
    Part part;
    for (size_t i = n * p / count; i < n * (p + 1) / count; ++i) add(i, part);
    curve.push_back(part.point());
  }
  return curve;
  //@end parts
}

}  // namespace

const char* name(Scale scale) {
  static constexpr const char* names[] = {"steps", "tokens", "flops", "seconds"};
  return names[static_cast<int>(scale)];
}

const char* title(Scale scale) {
  static constexpr const char* titles[] = {"optimizer steps", "training tokens", "training FLOPs",
                                           "seconds of training"};
  return titles[static_cast<int>(scale)];
}

std::vector<double> places(const Run& run, Scale scale) {
  const double each = scale == Scale::steps    ? 1
                      : scale == Scale::tokens ? run.tokens_per_step
                                               : run.tokens_per_step * run.flops_per_token;
  std::vector<double> result;
  double seconds = 0;
  for (const StepLine& s : run.steps) {
    if (scale == Scale::seconds) {
      if (std::isnan(s.seconds)) return {};
      result.push_back(seconds += s.seconds);
    } else {
      if (!(each > 0)) return {};
      result.push_back(each * double(s.step));
    }
  }
  return result;
}

double place_of(const Run& run, const std::vector<double>& places, int64_t step) {
  const auto after = std::lower_bound(run.steps.begin(), run.steps.end(), step,
                                      [](const StepLine& s, int64_t wanted) { return s.step < wanted; });
  if (places.empty()) return unknown;
  return places[std::min(static_cast<size_t>(after - run.steps.begin()), places.size() - 1)];
}

Curve thin(const std::vector<double>& x, const std::vector<double>& y, size_t parts) {
  return in_parts(x.size(), parts, [&](size_t i, Part& part) { part.add(x[i], y[i], y[i], y[i]); });
}

Curve thin(const std::vector<double>& x, const std::vector<StepLine>& steps,
           const std::function<double(const StepLine&)>& value, size_t parts) {
  return in_parts(x.size(), parts, [&](size_t i, Part& part) {
    const double y = value(steps[i]);
    part.add(x[i], y, y, y);
  });
}

Curve thin_layers(const std::vector<double>& x, const std::vector<StepLine>& steps,
                  const std::function<std::vector<double>(const StepLine&)>& value, size_t parts) {
  return in_parts(x.size(), parts, [&](size_t i, Part& part) {
    Part layers;
    for (double y : value(steps[i])) layers.add(0, y, y, y);
    part.add(x[i], layers.values ? layers.sum / double(layers.values) : unknown, layers.low, layers.high);
  });
}

std::vector<double> ticks(double low, double high, int wanted) {
  if (!(high > low)) high = low + std::max(1.0, std::abs(low));
  const double rough = (high - low) / wanted, ten = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * ten;
  for (double round : {5.0, 2.0, 1.0})
    if (round * ten >= rough * 0.999) step = round * ten;
  std::vector<double> result;
  const auto first = static_cast<int64_t>(std::floor(low / step + 1e-9));
  const auto last = static_cast<int64_t>(std::ceil(high / step - 1e-9));
  for (int64_t i = first; i <= last; ++i) result.push_back(double(i) * step);
  return result;
}

std::vector<double> log_ticks(double low, double high) {
  const double span = high / low;
  const std::vector<double> rounds = span < 12     ? std::vector<double>{1, 1.5, 2, 3, 4, 5, 7}
                                     : span < 2000 ? std::vector<double>{1, 2, 5}
                                                   : std::vector<double>{1};
  std::vector<double> all;
  for (int power = -18; power <= 30; ++power)
    for (double round : rounds) all.push_back(round * std::pow(10, power));
  const auto first = std::upper_bound(all.begin() + 1, all.end(), low * 1.0001) - 1;
  const auto last = std::lower_bound(first + 1, all.end() - 1, high * 0.9999);
  std::vector<double> result(first, last + 1);
  while (result.size() > 8) {  // every second power, and again
    std::vector<double> fewer;
    for (size_t i = 0; i < result.size(); i += 2) fewer.push_back(result[i]);
    if (fewer.back() < high) fewer.push_back(fewer.back() * (fewer[1] / fewer[0]));
    result = std::move(fewer);
  }
  return result;
}

std::string short_text(double x) {
  if (!std::isfinite(x)) return "not a number";
  static constexpr std::pair<double, const char*> units[] = {{1e18, "E"}, {1e15, "P"}, {1e12, "T"},
                                                             {1e9, "G"},  {1e6, "M"},  {1e3, "k"}};
  for (const auto& [size, unit] : units)
    if (std::abs(x) >= 0.99995 * size) return fmt::format("{:.4g}{}", x / size, unit);
  return fmt::format("{:.4g}", x == 0 ? 0 : x);  // no minus before zero
}

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string html(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = read_utf8(text, at);
    switch (c.code) {
      case U'&':
        out += "&amp;";
        break;
      case U'<':
        out += "&lt;";
        break;
      case U'>':
        out += "&gt;";
        break;
      case U'"':
        out += "&quot;";
        break;
      case U'\'':
        out += "&#39;";
        break;
      default:
        // Control characters are no text in HTML: their pictures stand for them.
        append_utf8(out, c.code < 32 && c.code != '\n' && c.code != '\t' ? char32_t{0x2400} + c.code : c.code);
    }
    at += static_cast<size_t>(c.length);
  }
  return out;
}

double mean_of(const std::vector<StepLine>& steps, size_t from, size_t to,
               const std::function<double(const StepLine&)>& value) {
  Part part;
  for (size_t i = from; i < to; ++i) {
    const double y = value(steps[i]);
    part.add(0, y, y, y);
  }
  return part.values ? part.sum / double(part.values) : unknown;
}

}  // namespace switchyard::page
