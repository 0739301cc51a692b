#include "train/page/page.h"

#include "train/page/curve.h"
#include "train/page/sections.h"
#include "train/page/style.h"
#include "train/page/summary.h"

namespace switchyard::page {
namespace {

std::string names(const Runs& runs) {
  std::string text;
  for (const Run& run : runs) text += (text.empty() ? "" : ", ") + run.name;
  return text;
}

// The policy forbids the page itself to ask for anything.
std::string head(const std::string& title) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'; img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n"
      "<style id=\"chart-style\">{}</style>\n<style>{}</style>\n</head>\n",
      html(title), chart_style, page_style);
}

std::string card(const Run& run, size_t r) {
  const Summary summary = summarise(run);
  std::string out = fmt::format("<section class=\"card\"><h3><i class=\"swatch s{}\"></i>{}</h3><p>{}</p>", r,
                                html(run.name), html(summary.said));
  if (summary.findings.empty())
    return out + "<p class=\"well\">Nothing in its numbers asks for attention.</p></section>\n";
  out += "<ul>";
  for (const std::string& finding : summary.findings) out += "<li>" + html(finding) + "</li>";
  return out + "</ul></section>\n";
}

std::string top(const Runs& runs) {
  std::string out = fmt::format("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<div class=\"cards\">\n", html(names(runs)),
                                runs.size() == 1 ? "A training run, as its folder tells it."
                                                 : fmt::format("{} training runs, side by side.", runs.size()));
  for (size_t r = 0; r < runs.size(); ++r) out += card(runs[r], r);
  out += "</div>\n";
  if (runs.size() > 1) {
    const std::string differences = differences_table(runs);
    out += "<h2>What differs</h2>\n" +
           (differences.empty() ? "<p>Nothing: the configurations are the same.</p>\n" : differences);
  }
  return out + "<h2>In numbers</h2>\n" + results_table(runs);
}

}  // namespace

std::string report_page(const Runs& runs, const std::vector<Routes>& routes) {
  std::string out = head(names(runs) + " – training report");
  out += "<body>\n<main>\n" + top(runs);
  out += loss_section(runs) + floor_section(runs) + load_section(runs) + router_section(runs);
  out += optimizer_section(runs) + events_section(runs);
  out += domains_section(runs, routes) + texts_section(runs, routes) + samples_section(runs);
  out +=
      "<h2>Configuration</h2>\n<details><summary>Every field</summary>\n" + configuration_table(runs) + "</details>\n";
  out += "<footer>Written by ./run report. This file is whole: it needs no network.</footer>\n</main>\n";
  return out + fmt::format("<div id=\"tip\" role=\"status\" hidden></div>\n<script>{}</script>\n</body>\n</html>\n",
                           page_script);
}

}  // namespace switchyard::page
