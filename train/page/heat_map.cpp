// Charts whose cells are coloured by how far they are from a fair part.
#include <algorithm>
#include <cmath>

#include "train/page/chart.h"

namespace switchyard::page {
namespace {

constexpr double width = 480, left = 50, right = 14, top = 46;

std::string opening(const std::string& title, const std::string& y_title, const std::string& description, double height,
                    const std::string& data) {
  return fmt::format(R"(<svg class="chart" role="img" viewBox="0 0 {} {:.0f}" aria-label="{}"{}><desc>{}</desc>)"
                     R"(<text x="4" y="16" class="title">{}</text><text x="4" y="38" class="axis-y">{}</text>)",
                     width, height, html(title + ". " + description), data, html(description), html(title),
                     html(y_title));
}

std::string tick(double x, double y, const char* anchor, const std::string& said) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="tick" text-anchor="{}">{}</text>)", x, y, anchor,
                     html(said));
}

std::string x_axis_title(double y, const std::string& said) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="axis-x" text-anchor="middle">{}</text>)",
                     left + (width - left - right) / 2, y, html(said));
}

// Two digits of base 36 for a hundredth of the fair part; more than 12.95 is 12.95, and what is there is not 0.
std::string coded(double times) {
  static constexpr const char* digits = "0123456789abcdefghijklmnopqrstuvwxyz";
  const int n = times > 0 ? static_cast<int>(std::clamp(std::round(times * 100), 1.0, 1295.0)) : 0;
  return {digits[n / 36], digits[n % 36]};
}

// Neighbours of the same level are one rectangle.
std::string row_path(const std::vector<double>& row, int level, double y, double height) {
  std::string path;
  const double cell = (width - left - right) / double(row.size());
  for (size_t i = 0; i < row.size();) {
    size_t end = i + 1;
    while (end < row.size() && fair_level(row[end]) == fair_level(row[i])) ++end;
    if (fair_level(row[i]) == level)
      path += fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", left + cell * double(i), y, cell * double(end - i),
                          height, cell * double(end - i));
    i = end;
  }
  return path;
}

std::string describe(const HeatMap& map) {
  std::string idle;
  for (size_t e = 0; e < map.rows.size(); ++e)
    if (fair_level(map.rows[e].back()) == 0) idle += fmt::format("{}{}", idle.empty() ? "" : ", ", e);
  const auto busiest = std::max_element(map.rows.begin(), map.rows.end(),
                                        [](const auto& a, const auto& b) { return a.back() < b.back(); });
  return fmt::format("{} against {}. At the end expert {} is the busiest with {} times the even part; {}.", map.y_title,
                     map.x_title, busiest - map.rows.begin(), short_text(busiest->back()),
                     idle.empty() ? "every expert has work" : "without work: " + idle);
}

}  // namespace

//@begin fair-level
int fair_level(double times) {
  if (!(times > 0)) return 0;
  int level = 1;
  for (double edge : {0.25, 0.5, 0.8, 1.25, 2.0, 4.0}) level += times >= edge;
  return level;
}
//@end fair-level

const char* fair_label(int level) {
  static constexpr const char* labels[] = {"none", "under ¼",   "¼ to ½", "½ to 0.8",
                                           "even", "1.25 to 2", "2 to 4", "over 4"};
  return labels[level];
}

std::string draw(const HeatMap& map) {
  if (map.rows.empty() || map.x.empty()) return "";
  const auto experts = double(map.rows.size());
  const double row_height = std::clamp(150 / experts, 3.0, 14.0), bottom = top + row_height * experts;
  std::string cells;
  for (const auto& row : map.rows) {
    if (!cells.empty()) cells += ' ';
    for (double times : row) cells += coded(times);
  }
  std::string x;
  for (double value : map.x) x += fmt::format("{}{:.6g}", x.empty() ? "" : " ", value);
  const std::string data =
      fmt::format(R"( data-plot="{} {} {} {}" data-cells="{}" data-columns="{}" data-x-title="{}")", left, top,
                  width - left - right, bottom - top, cells, x, html(map.x_title));
  std::string out = opening(map.title, map.y_title, describe(map), bottom + 40, data);
  for (int level = 0; level < fair_levels; ++level) {
    std::string path;
    for (size_t e = 0; e < map.rows.size(); ++e)
      path += row_path(map.rows[e], level, top + row_height * double(e), row_height - (row_height > 6 ? 1 : 0));
    if (!path.empty()) out += fmt::format(R"(<path class="h{}" d="{}"/>)", level, path);
  }
  const size_t every = map.rows.size() <= 16 ? 1 : map.rows.size() / 8;
  for (size_t e = 0; e < map.rows.size(); e += every)
    if (row_height * double(every) >= 9)
      out += tick(left - 6, top + row_height * (double(e) + 0.5) + 4, "end", std::to_string(e));
  const double first = map.x.front(), last = std::max(map.x.back(), first + 1);
  for (double value : ticks(first, last, 5))
    if (value >= first && value <= last)
      out += tick(left + (width - left - right) * (value - first) / (last - first), bottom + 14, "middle",
                  short_text(value));
  return out + x_axis_title(bottom + 30, map.x_title) + "</svg>";
}

std::string draw(const Matrix& matrix) {
  const double name_width = 86, row_height = 20, plot = width - name_width - right;
  const auto columns = double(matrix.times[0].size());
  const double cell = std::min(40.0, plot / columns), bottom = top + row_height * double(matrix.rows.size());
  std::string description = fmt::format("{} by {}. Largest of each row:", matrix.y_title, matrix.x_title), cells;
  for (size_t r = 0; r < matrix.rows.size(); ++r) {
    const auto& row = matrix.times[r];
    const auto most = static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    description += fmt::format(" {} {} times chance at {};", matrix.rows[r], short_text(row[most]), most);
    const double y = top + row_height * double(r);
    cells += tick(name_width - 6, y + 14, "end", matrix.rows[r]);
    for (size_t e = 0; e < row.size(); ++e) {
      const double x = name_width + cell * double(e);
      cells += fmt::format(R"(<g data-tip="{}"><rect class="h{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}"/>)",
                           html(fmt::format("{}, {} {}: {} %, {} times chance", matrix.rows[r], "expert", e,
                                            matrix.texts[r][e], short_text(row[e]))),
                           fair_level(row[e]), x, y, cell - 1, row_height - 1);
      if (cell >= 22)
        cells += fmt::format(R"(<text class="cell t{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
                             fair_level(row[e]), x + cell / 2 - 0.5, y + 14, html(matrix.texts[r][e]));
      cells += "</g>";
    }
  }
  const size_t every = columns <= 16 ? 1 : static_cast<size_t>(columns) / 8;
  for (size_t e = 0; e < matrix.times[0].size(); e += every)
    cells += tick(name_width + cell * (double(e) + 0.5), bottom + 14, "middle", std::to_string(e));
  return opening(matrix.title, matrix.y_title, description, bottom + 40, "") + cells +
         x_axis_title(bottom + 30, matrix.x_title) + "</svg>";
}

}  // namespace switchyard::page
