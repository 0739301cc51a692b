// What runs say together: means and deviations over the seeds, and the table of them.
#include <algorithm>
#include <cmath>

#include "train/sweep.h"

namespace switchyard {
namespace {

// Of `runs` runs, those that have the number.
std::string cell(const Summary& s, int digits, int64_t runs) {
  if (s.count == 0) return "-";
  const bool alike = s.deviation <= 1e-9 * std::abs(s.mean);  // one seed, or what no seed changes
  std::string text = fmt::format("{:.{}f}", s.mean, digits);
  if (!alike) text += fmt::format(" ± {:.{}f}", s.deviation, digits);
  if (s.count < runs) text += fmt::format(" ({} of {})", s.count, runs);
  return text;
}

// The 97.5th percentile of Student's t for 1, 2, .. degrees of freedom; the last one serves for all above, where it is
// a little too strict.
constexpr double student[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                              2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                              2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};

}  // namespace

std::vector<const Outcome*> Results::of(const std::string& variant) const {
  std::vector<const Outcome*> found;
  for (const Outcome& o : outcomes)
    if (o.variant == variant) found.push_back(&o);
  return found;
}

Summary Results::number(const std::string& variant, const std::string& key) const {
  std::vector<double> x;
  for (const Outcome* o : of(variant))
    if (const auto found = o->number.find(key); found != o->number.end() && (!o->diverged() || key == "diverged"))
      x.push_back(found->second);
  Summary s{.count = static_cast<int64_t>(x.size())};
  for (double v : x) s.mean += v / double(x.size());
  double squares = 0;
  for (double v : x) squares += (v - s.mean) * (v - s.mean);
  if (x.size() > 1) s.deviation = std::sqrt(squares / double(x.size() - 1));
  return s;
}

std::vector<double> Results::curve(const std::string& variant, const std::string& key) const {
  std::vector<const Outcome*> all = of(variant);
  std::erase_if(all, [](const Outcome* o) { return o->diverged(); });  // it would be as long as its few steps
  size_t length = SIZE_MAX;
  for (const Outcome* o : all) {
    const auto found = o->curve.find(key);
    length = std::min(length, found == o->curve.end() ? 0 : found->second.size());
  }
  std::vector<double> mean(all.empty() ? 0 : length, 0.0);
  for (const Outcome* o : all)
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += o->curve.at(key)[i] / double(all.size());
  return mean;
}

TableRows table_rows(const Results& results, const std::vector<Column>& columns) {
  TableRows rows{{""}};
  for (const Column& c : columns) rows[0].push_back(c.title);
  for (const std::string& variant : results.variants) {
    rows.push_back({variant});
    const auto runs = static_cast<int64_t>(results.of(variant).size());
    for (const Column& c : columns) {
      const Summary s = results.number(variant, c.number);
      rows.back().push_back(s.count == 0 && c.number == "loss" ? "diverged" : cell(s, c.digits, runs));
    }
  }
  return rows;
}

std::string aligned(const TableRows& rows) {
  std::vector<size_t> width(rows[0].size(), 0);
  const auto columns_of = [](const std::string& text) {  // on a screen: bytes that begin a character
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], columns_of(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(width[i] - columns_of(row[i]), ' ');
      text += i == 0 ? row[i] + space : "  " + space + row[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);  // an empty last cell
    text += '\n';
  }
  return text;
}

std::optional<Lead> lead(const Results& results) {
  std::vector<std::pair<Summary, std::string>> whole;
  for (const std::string& variant : results.variants) {
    const Summary s = results.number(variant, "loss");
    if (s.count > 0 && s.count == static_cast<int64_t>(results.of(variant).size())) whole.emplace_back(s, variant);
  }
  if (whole.empty()) return std::nullopt;
  std::stable_sort(whole.begin(), whole.end(),
                   [](const auto& a, const auto& b) { return a.first.mean < b.first.mean; });
  Lead lead{.best = whole[0].second, .next = {}};
  if (whole.size() == 1) return lead;
  const auto& [a, b] = std::pair(whole[0].first, whole[1].first);
  lead.next = whole[1].second, lead.gap = b.mean - a.mean;
  const int64_t freedom = a.count + b.count - 2;
  if (freedom == 0) return lead;
  const double squares =
      double(a.count - 1) * a.deviation * a.deviation + double(b.count - 1) * b.deviation * b.deviation;
  lead.deviations = lead.gap == 0 ? 0 : lead.gap / std::sqrt(squares / double(freedom));
  const size_t row = static_cast<size_t>(std::min<int64_t>(freedom, std::ssize(student))) - 1;
  lead.needed = student[row] * std::sqrt(1 / double(a.count) + 1 / double(b.count));
  return lead;
}

}  // namespace switchyard
