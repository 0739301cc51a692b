// What the live view shows, as lines of text: no terminal is needed to make or to test it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/utf8.h"
#include "train/view.h"

namespace switchyard {
namespace {

constexpr const char* eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

// Text of at most `width` columns, and how many it takes. A character counts as two where East Asian scripts and
// pictures are, which is what terminals do. The text is printable().
struct Fitted {
  std::string text;
  int columns = 0;
};
int columns_of(char32_t c) {
  const bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
                    (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                    (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
  const bool joins = (c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f);
  return joins ? 0 : wide ? 2 : 1;
}
Fitted fit(std::string_view text, int width) {
  Fitted line;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char next = read_utf8(text, at);
    const int columns = columns_of(next.code);
    if (line.columns + columns > width) break;
    line.text += text.substr(at, static_cast<size_t>(next.length));
    line.columns += columns;
    at += static_cast<size_t>(next.length);
  }
  return line;
}

// Lines of at most `width` columns, broken at spaces where there are some.
std::vector<std::string> wrapped(std::string_view text, int width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view paragraph = text.substr(0, text.find('\n'));
    size_t taken = 0;
    do {
      const std::string_view rest = paragraph.substr(taken);
      const std::string line = fit(rest, width).text;
      size_t n = line.size();
      const size_t space = line.rfind(' ');
      if (n < rest.size() && space != std::string::npos && space > 0) n = space + 1;
      lines.push_back(line.substr(0, n));
      taken += std::max<size_t>(n, 1);
    } while (taken < paragraph.size());
    text.remove_prefix(std::min(paragraph.size() + 1, text.size()));
  }
  return lines;
}

// Means of `count` equal parts, or all of x where it has fewer.
std::vector<double> parts(const std::vector<double>& x, size_t count) {
  if (x.size() <= count) return x;
  std::vector<double> means;
  for (size_t i = 0; i < count; ++i) {
    const size_t first = i * x.size() / count, last = (i + 1) * x.size() / count;
    double sum = 0;
    for (size_t j = first; j < last; ++j) sum += x[j];
    means.push_back(sum / double(last - first));
  }
  return means;
}

// A curve `rows` lines high; its lowest point stands on the ground and its highest under the ceiling.
std::vector<std::string> curve(const std::vector<double>& x, int width, int rows) {
  std::vector<double> points = parts(x, static_cast<size_t>(std::max(width, 1)));
  std::erase_if(points, [](double p) { return !std::isfinite(p); });
  std::vector<std::string> lines(static_cast<size_t>(rows));
  if (points.empty()) return lines;
  const auto [low, high] = std::minmax_element(points.begin(), points.end());
  const double span = *high > *low ? *high - *low : 1;
  for (double p : points) {
    const int height = 1 + static_cast<int>((p - *low) / span * (8 * rows - 1) + 0.5);  // in eighths of a line
    for (int row = 0; row < rows; ++row)
      lines[static_cast<size_t>(rows - 1 - row)] += eighths[std::clamp(height - 8 * row, 0, 8)];
  }
  return lines;
}

std::string progress_bar(double share, int width) {
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * 8 * width + 0.5);
  std::string bar;
  for (int i = 0; i < width; ++i) {
    const int part = std::clamp(filled - 8 * i, 0, 8);
    bar += part == 8 ? "█" : part == 0 ? "·" : part < 4 ? "▎" : "▋";
  }
  return bar;
}

// The mean over groups of neighbours where there are more experts than columns.
std::vector<double> shares_of(const std::vector<int64_t>& load, int width) {
  const std::vector<double> all(load.begin(), load.end());
  double total = 0;
  for (double l : all) total += l;
  std::vector<double> shares = parts(all, static_cast<size_t>(std::max(width, 1)));
  for (double& s : shares) s = total > 0 ? s * double(load.size()) / total : 0;  // 1 is even
  return shares;
}

const char* bar_of(double share) {
  return share <= 0 ? "·" : eighths[1 + std::clamp(static_cast<int>(share * 4 - 0.5), 0, 7)];
}

// Blue where an expert gets less than half its share, red where it gets more than one and a half.
std::string heat_strip(const std::vector<int64_t>& load, int width, bool colour) {
  std::string text;
  for (double share : shares_of(load, width)) {
    const char* shade = !colour ? "" : share < 0.5 ? "\033[34m" : share > 1.5 ? "\033[31m" : "\033[32m";
    text += std::string(shade) + bar_of(share);
  }
  return text + (colour ? "\033[0m" : "");
}

class Frame {
 public:
  Frame(const RunStatus& s, int width, int height, bool colour)
      : s_(s), width_(width), height_(height), colour_(colour) {}

  std::vector<std::string> lines() {
    head();
    losses();
    speed();
    layers();
    sample();
    if (lines_.size() > static_cast<size_t>(height_)) lines_.resize(static_cast<size_t>(height_));
    return lines_;
  }

 private:
  void add(std::string_view text) { lines_.push_back(fit(text, width_).text); }
  int left() const { return height_ - static_cast<int>(lines_.size()); }

  void head() {
    add(s_.title);
    const double share = s_.steps > 0 ? double(s_.step) / double(s_.steps) : 1;
    const std::string text = fmt::format(" {:3.0f} %  step {}/{}  {} gone, {} left", 100 * share, s_.step, s_.steps,
                                         minutes(s_.seconds), minutes(s_.seconds_left));
    add(progress_bar(share, std::clamp(width_ - static_cast<int>(text.size()), 0, 60)) + text);
  }

  void losses() {
    std::string text = fmt::format("loss        {:.4f}", s_.loss);
    if (s_.floor) text += fmt::format("   floor {:.4f}", *s_.floor);
    if (s_.above_floor) text += fmt::format(" ({:+.3f} nats per byte above it)", *s_.above_floor);
    add(text);
    const int rows = height_ >= 40 ? 8 : height_ >= 30 ? 4 : 1;
    for (const std::string& line : curve(s_.losses, std::max(width_ - 12, 1), rows)) add("            " + line);
    if (!s_.evaluation.empty()) add("evaluation  " + s_.evaluation);
  }

  void speed() {
    std::string text = fmt::format("speed       {} tokens/s", thousands(s_.tokens_per_second));
    if (s_.of_limit > 0) text += fmt::format(", {:.0f} % of this machine's multiply-adds", 100 * s_.of_limit);
    add(text);
    add(fmt::format("gradient    norm {:.3g}{}   rate {:.3g}{}", s_.gradient_norm,
                    s_.clip > 0 && s_.gradient_norm > s_.clip ? fmt::format(", clipped to {:.3g}", s_.clip) : "",
                    s_.rate, s_.noise_scale > 0 ? fmt::format("   noise scale {:.0f} sequences", s_.noise_scale) : ""));
    if (s_.aux.empty()) return;
    text = "auxiliary  ";
    for (const auto& [name, value] : s_.aux) text += fmt::format(" {} {:.4g}", name, value);
    add(text);
  }

  // A line a layer, with room kept for three lines of the sample; a last line says how many were left out.
  void layers() {
    if (s_.layers.empty() || left() < 2) return;
    constexpr int numbers = 32;
    const int strip = std::max(width_ - 12 - numbers, 4);
    const int columns = std::min(strip, std::max(static_cast<int>(s_.layers[0].load.size()), 4));
    add(fmt::format("experts     {:<{}}  busiest/mean  dropped  dead", "load", columns));
    const int room = std::max(left() - (s_.sample.empty() ? 0 : 4), 1), all = static_cast<int>(s_.layers.size());
    const int shown = all <= room ? all : room - 1;
    for (int i = 0; i < shown; ++i) {
      const RouteStats& layer = s_.layers[static_cast<size_t>(i)];
      int64_t dropped = 0, load = 0;
      for (int64_t d : layer.dropped) dropped += d;
      for (int64_t l : layer.load) load += l;
      const auto cells = static_cast<int>(std::min<size_t>(layer.load.size(), static_cast<size_t>(columns)));
      const std::string label = fmt::format("  layer {:<4}", i + 1);
      const std::string rest = fmt::format("{:{}}  {:12.2f}  {:5.1f} %  {:4}", "", columns - cells, layer.max_over_mean,
                                           load ? 100.0 * double(dropped) / double(load) : 0, layer.dead);
      // Fitted apart: colours take no columns.
      const Fitted before = fit(label, width_);
      const bool fits = before.columns + cells <= width_;
      lines_.push_back(before.text + (fits ? heat_strip(layer.load, columns, colour_) : "") +
                       (fits ? fit(rest, width_ - before.columns - cells).text : ""));
    }
    if (shown < all) add(fmt::format("  and {} layers more", all - shown));
  }

  void sample() {
    if (s_.sample.empty() || left() < 2) return;
    add(fmt::format("sample at step {}", s_.sample_step));
    for (const std::string& line : wrapped(s_.sample, std::max(width_ - 2, 1))) {
      if (left() == 0) return;
      add("  " + line);
    }
  }

  const RunStatus& s_;
  int width_, height_;
  bool colour_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> live_frame(const RunStatus& status, int width, int height, bool colour) {
  return Frame(status, width, height, colour).lines();
}

std::string printable(std::string_view text) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char next = read_utf8(text, at);
    const char32_t c = next.code;
    if (c == '\n')
      shown += '\n';
    else if (c < 0x20)
      append_utf8(shown, 0x2400 + c);
    else if (c >= 0x7f && c < 0xa0)
      append_utf8(shown, c == 0x7f ? 0x2421 : 0xfffd);
    else
      append_utf8(shown, c);
    at += static_cast<size_t>(next.length);
  }
  return shown;
}

std::string load_bars(const std::vector<int64_t>& load, int width) {
  std::string text;
  for (double share : shares_of(load, width)) text += bar_of(share);
  return text;
}

std::string minutes(double seconds) {
  const int64_t s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string thousands(double x) {
  return x >= 1e6   ? fmt::format("{:.1f}M", x / 1e6)
         : x >= 1e4 ? fmt::format("{:.1f}k", x / 1e3)
                    : fmt::format("{:.0f}", x);
}

}  // namespace switchyard
