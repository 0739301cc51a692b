// ./run report: one or several runs as a page.
#include <map>
#include <sstream>

#include "tensor/file.h"
#include "train/command_flags.h"
#include "train/commands.h"
#include "train/page/page.h"
#include "train/page/summary.h"

namespace switchyard {
namespace {

// Runs whose folders have the same name are called by their whole paths.
void tell_apart(std::vector<page::Run>& runs) {
  std::map<std::string, int> named;
  for (const page::Run& run : runs) ++named[run.name];
  for (page::Run& run : runs)
    if (named[run.name] > 1) run.name = run.dir.string();
}

// The words on top of the page, for the terminal: lines of 78 columns.
void print_summary(const page::Run& run, const page::Routes& routes) {
  const auto wrapped = [](const std::string& text, const char* first) {
    std::string line = first;
    std::istringstream words(text);
    for (std::string word; words >> word; line += (line.back() == ' ' ? "" : " ") + word)
      if (line.size() + 1 + word.size() > 78) {
        fmt::print("{}\n", line);
        line = std::string(std::string_view(first).size(), ' ');
      }
    fmt::print("{}\n", line);
  };
  const page::Summary summary = page::summarise(run);
  fmt::print("{}\n", run.name);
  wrapped(summary.said, "  ");
  for (const std::string& finding : summary.findings) wrapped(finding, "  ! ");
  if (!routes.missing.empty()) wrapped("no tokens by expert: " + routes.missing, "  ");
}

}  // namespace

int run_report(int argc, char** argv) {
  CLI::App app(
      "Writes one HTML file about one or several runs: what was learnt, where the tokens went, what went wrong.");
  Common common;
  std::vector<std::string> dirs;
  std::string out;
  app.add_option("run", dirs, "the runs' folders, at most 8; they may still be training")->required();
  add_text_flag(app, "--out", out, "the file to write; default: report.html in the first run's folder");
  add_common(app, common);
  parse_flags(app, argc, argv);
  apply(common);
  check_output(out);
  check(dirs.size() <= page::most_runs, "report: {} runs; at most {} fit on a page", dirs.size(), page::most_runs);
  std::vector<page::Run> runs;
  for (const std::string& dir : dirs) runs.push_back(page::read_run(fs::path(dir).lexically_normal()));
  tell_apart(runs);
  std::vector<page::Routes> routes;
  for (const page::Run& run : runs) {
    fmt::print(stderr, "reading {}: {} steps, and its model over a few texts\n", run.name, run.steps.back().step);
    routes.push_back(page::route_texts(run));
    if (!common.json) print_summary(run, routes.back());
  }
  const fs::path path = out.empty() ? runs[0].dir / "report.html" : fs::path(out);
  const std::string text = page::report_page(runs, routes);
  write_file(path, text);
  if (common.json)
    fmt::print("{}\n", nlohmann::json{{"out", path.string()}, {"bytes", text.size()}, {"runs", runs.size()}}.dump());
  else
    fmt::print("wrote {} ({:.0f} kB); open it in a browser\n", path.string(), double(text.size()) / 1000);
  return 0;
}

}  // namespace switchyard
