#include "train/page/chart.h"

#include <algorithm>
#include <cmath>

namespace switchyard::page {
namespace {

constexpr double left = 50, right = 14, line_height = 16;

// Where a chart puts its values.
struct Frame {
  double top, width, height;  // of the plot
  double x0, x1, y0, y1;      // values at its edges
  bool log_y;
  double x(double value) const { return left + width * (value - x0) / (x1 - x0); }
  double y(double value) const {
    const double share = log_y ? std::log(value / y0) / std::log(y1 / y0) : (value - y0) / (y1 - y0);
    return top + height * (1 - share);
  }
  bool shows(double value) const { return std::isfinite(value) && (!log_y || value > 0); }
  // Far outside is drawn at the edge of what is cut off, so that no coordinate is huge.
  double y_inside(double value) const { return std::clamp(y(value), top - 20, top + height + 20); }
};

std::string text(double x, double y, const char* kind, const char* anchor, const std::string& said) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>)", x, y, kind, anchor,
                     html(said));
}

std::string line(const char* kind, double x0, double y0, double x1, double y1) {
  return fmt::format(R"(<path class="{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>)", kind, x0, y0, x1, y1);
}

std::string opening(const std::string& title, const std::string& description, double width, double height,
                    const std::string& data) {
  return fmt::format(R"(<svg class="chart" role="img" viewBox="0 0 {:.0f} {:.0f}" aria-label="{}"{}><desc>{}</desc>)",
                     width, height, html(title + ". " + description), data, html(description));
}

// The title of a chart, and of its y axis above that axis.
std::string headings(const std::string& title, const std::string& y_title, double y_title_at) {
  return text(4, 16, "title", "start", title) + text(4, y_title_at - 3, "axis-y", "start", y_title);
}

std::string describe(const LineChart& chart) {
  std::string said = fmt::format("{} against {}.", chart.y_title, chart.x_title);
  for (const Series& s : chart.series) {
    const Point* first = nullptr;
    const Point* last = nullptr;
    double low = INFINITY, high = -INFINITY;
    for (const Point& p : s.curve) {
      if (!std::isfinite(p.mean)) continue;
      if (!first) first = &p;
      last = &p;
      low = std::min(low, p.mean), high = std::max(high, p.mean);
    }
    if (first)
      said += fmt::format(" {}: from {} to {}, between {} and {}.", s.name, short_text(first->mean),
                          short_text(last->mean), short_text(low), short_text(high));
  }
  for (const Reference& r : chart.references)
    if (std::isfinite(r.y)) said += fmt::format(" {}: {}.", r.label, short_text(r.y));
  return said;
}

// The edges of the plot: round values around what is shown. A band may leave a plot that is not logarithmic.
bool frame_of(const LineChart& chart, Frame& frame, std::vector<double>& y_ticks) {
  double x1 = 0, low = INFINITY, high = -INFINITY;
  const auto show = [&](double y) {
    if (frame.shows(y)) low = std::min(low, y), high = std::max(high, y);
  };
  for (const Series& s : chart.series)
    for (const Point& p : s.curve) {
      if (!frame.shows(p.mean)) continue;
      x1 = std::max(x1, p.x);
      show(p.mean);
      if (chart.log_y) show(p.low), show(p.high);
    }
  if (!(high >= low)) return false;
  for (const Reference& r : chart.references) show(r.y);
  if (chart.reach > 0) show(chart.reach);
  if (!chart.log_y && chart.from_zero) low = std::min(low, 0.0), high = std::max(high, 0.0);
  y_ticks = chart.log_y ? log_ticks(low, high) : ticks(low, high, chart.height < 220 ? 3 : 5);
  frame.x0 = 0, frame.x1 = x1 > 0 ? x1 : 1;
  const double end = ticks(0, frame.x1, 5).back();  // the last part's mean is not quite the last step
  if (end < 1.02 * frame.x1) frame.x1 = end;
  frame.y0 = y_ticks.front(), frame.y1 = y_ticks.back();
  return true;
}

std::string axes(const LineChart& chart, const Frame& f, const std::vector<double>& y_ticks) {
  std::string out;
  for (double y : y_ticks) {
    out += line("grid", left, f.y(y), left + f.width, f.y(y));
    out += text(left - 6, f.y(y) + 4, "tick", "end", short_text(y));
  }
  for (double x : ticks(0, f.x1, chart.width < 300 ? 3 : 5)) {
    if (x > f.x1 * 1.0001) continue;
    out += line("grid", f.x(x), f.top + f.height, f.x(x), f.top + f.height + 4);
    out += text(f.x(x), f.top + f.height + 16, "tick", x > 0.97 * f.x1 ? "end" : "middle", short_text(x));
  }
  out += line("base", left, f.top + f.height, left + f.width, f.top + f.height);
  return out + text(left + f.width / 2, f.top + f.height + 32, "axis-x", "middle",
                    chart.x_title + (chart.log_y ? "; y logarithmic" : ""));
}

// The line with gaps where a value is missing, and under it the band from the least to the greatest.
std::string curve(const Series& s, const Frame& f) {
  std::string path, band, back, values, dots;
  bool drawing = false, has_band = false;
  const auto close = [&] {
    if (has_band) band += back + "Z";
    back.clear(), drawing = has_band = false;
  };
  for (size_t i = 0; i < s.curve.size(); ++i) {
    const Point& p = s.curve[i];
    if (!f.shows(p.mean)) {
      close();
      continue;
    }
    const bool alone = !drawing && (i + 1 == s.curve.size() || !f.shows(s.curve[i + 1].mean));  // no line shows it
    const double x = f.x(p.x);
    path += fmt::format("{}{:.1f} {:.1f}", drawing ? "L" : "M", x, f.y_inside(p.mean));
    if (p.high > p.low && f.shows(p.low)) {
      band += fmt::format("{}{:.1f} {:.1f}", has_band ? "L" : "M", x, f.y_inside(p.high));
      back = fmt::format("L{:.1f} {:.1f}", x, f.y_inside(p.low)) + back;
      has_band = true;
    }
    values += fmt::format("{:.6g},{:.4g}", p.x, p.mean);
    if (p.high > p.low) values += fmt::format(",{:.3g},{:.3g}", p.low, p.high);
    values += ' ';
    if (s.dots || alone) dots += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="2.5"/>)", x, f.y_inside(p.mean));
    drawing = true;
  }
  close();
  if (!values.empty()) values.pop_back();
  return fmt::format(R"(<g class="s{}" data-name="{}" data-values="{}">{}<path class="curve" d="{}"/>{}</g>)", s.style,
                     html(s.name), values, band.empty() ? "" : fmt::format(R"(<path class="band" d="{}"/>)", band),
                     path, dots);
}

// Which line is which run, where there are several; as many rows as it takes.
std::string legend(const std::vector<Series>& series, size_t columns, double top, double width) {
  std::string out;
  for (size_t i = 0; i < series.size(); ++i) {
    const double x = 4 + (width - 8) / double(columns) * double(i % columns);
    const double y = top + line_height * double(i / columns);
    const std::string& full = series[i].name;
    const auto room = static_cast<size_t>((width / double(columns) - 36) / 6);
    const std::string shown = full.size() > room ? "…" + full.substr(full.size() - room) : full;
    out += fmt::format(R"(<g class="s{}"><path class="curve" d="M{:.0f} {:.0f}h22"/></g>)", series[i].style, x, y - 4);
    out += text(x + 27, y, "tick", "start", shown);
  }
  return out;
}

// "" where a name is all that would be said.
std::string references(const LineChart& chart, const Frame& f) {
  std::string out;
  for (const Reference& r : chart.references) {
    if (!f.shows(r.y)) continue;
    out += fmt::format(R"(<g class="{}">)", r.style < 0 ? "all" : fmt::format("s{}", r.style));
    out += line("reference", left, f.y(r.y), left + f.width, f.y(r.y)) + "</g>";
    out += text(left + f.width, f.y(r.y) - 4, "note", "end", r.label);
  }
  return out;
}

}  // namespace

std::string draw(const LineChart& chart) {
  const bool several = chart.series.size() > 1;
  const size_t columns = std::min<size_t>(chart.series.size(), chart.width < 300 ? 2 : 3);
  const size_t rows = several ? (chart.series.size() + columns - 1) / columns : 0;
  const double under_title = 16 + line_height * double(rows) + 18;
  Frame f{.top = under_title + 10, .width = chart.width - left - right, .log_y = chart.log_y};
  f.height = chart.height - f.top - 42 + line_height * double(rows);  // a legend makes the chart taller
  std::vector<double> y_ticks;
  if (!frame_of(chart, f, y_ticks)) return "";
  const double height = f.top + f.height + 40;
  const std::string data =
      fmt::format(R"( data-plot="{} {} {} {}" data-x="{:.8g}" data-y="{:.8g} {:.8g}" data-log="{}" data-x-title="{}")",
                  left, f.top, f.width, f.height, f.x1, f.y0, f.y1, chart.log_y ? 1 : 0, html(chart.x_title));
  std::string out = opening(chart.title, describe(chart), chart.width, height, data);
  out += headings(chart.title, chart.y_title, under_title);
  if (several) out += legend(chart.series, columns, 16 + line_height, chart.width);
  out += axes(chart, f, y_ticks);
  out += fmt::format(R"(<svg x="{0}" y="{1}" width="{2}" height="{3}" viewBox="{0} {1} {2} {3}">)", left, f.top - 3,
                     f.width + 4, f.height + 6);
  for (const Series& s : chart.series) out += curve(s, f);
  return out + "</svg>" + references(chart, f) + "</svg>";
}

}  // namespace switchyard::page
