// ./run sweep: a grid or a list of configurations, each trained from several seeds, and the table of them.
#include <algorithm>

#include "train/command_flags.h"
#include "train/commands.h"
#include "train/sweep_file.h"

namespace switchyard {
namespace {

struct SweepFlags {
  std::string file, out;
  Where place;
  Common common;
};

SweepFlags read_flags(int argc, char** argv) {
  SweepFlags f;
  CLI::App app("Trains every configuration of a file from several seeds and prints a table with mean and deviation.");
  std::string columns;
  for (const NamedColumn& c : table_columns()) columns += fmt::format("{}{}", columns.empty() ? "" : ", ", c.name);
  app.footer(fmt::format(
      "A file, with comments as in C++ where you like:\n{}\n\"columns\" chooses those of the table: {}.\n\nFinished "
      "runs are read, interrupted ones go on: after Ctrl-C or a kill the same command ends with the same table.",
      sweep_example(), columns));
  app.add_option("file", f.file, "the file")->required();
  add_text_flag(app, "--out", f.out, "the folder of all its runs; default: runs/sweep-NAME, as the file is named");
  add_common(app, f.common);
  add_flags(app, f.place);
  parse_flags(app, argc, argv);
  apply(f.common);
  f.place.device = placed(f.place.device);
  if (f.out.empty()) f.out = "runs/sweep-" + fs::path(f.file).stem().string();
  return f;
}

// Of the usual columns those that are not empty, or 0 in every row.
std::vector<Column> usual_columns(const Results& results) {
  std::vector<Column> columns;
  for (const NamedColumn& c : table_columns()) {
    const auto has = [&](const Outcome& o) {
      const auto found = o.number.find(c.column.number);
      return found != o.number.end() && found->second != 0;
    };
    if (c.usual && std::any_of(results.outcomes.begin(), results.outcomes.end(), has)) columns.push_back(c.column);
  }
  return columns;
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == text.npos) return text;
  std::string inside;
  for (char c : text) inside += c == '"' ? std::string("\"\"") : std::string(1, c);
  return "\"" + inside + "\"";
}

// A row for each variant: what varies, and of each number mean and deviation, which are empty where no seed has it.
std::string as_csv(const SweepFile& file, const Results& results, const std::vector<Column>& columns) {
  std::string csv = "variant";
  for (const std::string& key : file.varied) csv += "," + quoted(key);
  csv += ",seeds,diverged";
  for (const Column& c : columns) csv += fmt::format(",{0},{0} deviation", quoted(c.number));
  csv += "\n";
  for (size_t i = 0; i < results.variants.size(); ++i) {
    const std::string& variant = results.variants[i];
    csv += quoted(variant);
    for (const std::string& value : file.how[i]) csv += "," + quoted(value);
    csv += fmt::format(",{},{}", file.seeds.size(), results.number(variant, "diverged").count);
    for (const Column& c : columns) {
      const Summary s = results.number(variant, c.number);
      csv += s.count == 0 ? ",," : fmt::format(",{},{}", s.mean, s.deviation);
    }
    csv += "\n";
  }
  return csv;
}

// What no two runs have alike, so that it is in no other file.
std::string clocks_csv(const Results& results) {
  std::string csv = "variant,seed,seconds,tokens_per_second\n";
  for (const Outcome& o : results.outcomes)
    csv += fmt::format("{},{},{:.2f},{:.0f}\n", quoted(o.variant), o.seed, o.number.at("seconds"),
                       o.number.at("tokens_per_second"));
  return csv;
}

nlohmann::json as_json(const SweepFile& file, const Results& results, const std::vector<Column>& columns) {
  nlohmann::json json{{"seeds", file.seeds}, {"variants", nlohmann::json::array()}};
  for (size_t i = 0; i < results.variants.size(); ++i) {
    const std::string& variant = results.variants[i];
    nlohmann::json row{{"variant", variant}, {"diverged", results.number(variant, "diverged").count}};
    for (size_t j = 0; j < file.varied.size(); ++j) row["settings"][file.varied[j]] = file.how[i][j];
    for (const Column& c : columns) {
      const Summary s = results.number(variant, c.number);
      if (s.count > 0) row["numbers"][c.number] = {{"mean", s.mean}, {"deviation", s.deviation}, {"runs", s.count}};
    }
    json["variants"].push_back(row);
  }
  if (const std::optional<Lead> l = lead(results)) {
    json["best"] = {{"variant", l->best}};
    if (!l->next.empty()) json["best"].update({{"next", l->next}, {"gap", l->gap}});
    if (l->needed) json["best"].update({{"gap_in_deviations", *l->deviations}, {"beyond_chance_above", *l->needed}});
  }
  return json;
}

std::string verdict(const Results& results) {
  const std::optional<Lead> l = lead(results);
  if (!l) return "every variant has diverged from some seed\n";
  if (l->next.empty()) return "";
  std::string text = fmt::format("best: {}, {:.4f} below {}", l->best, l->gap, l->next);
  if (!l->needed) return text + "; one seed cannot tell that from chance\n";
  text += fmt::format(", {:.2f} deviations; ", *l->deviations);
  return text + (*l->deviations > *l->needed ? fmt::format("more than {:.2f} is more than chance\n", *l->needed)
                                             : fmt::format("up to {:.2f} may be chance\n", *l->needed));
}

void print_table(const SweepFile& file, const Results& results, const std::vector<Column>& columns) {
  TableRows rows = table_rows(results, columns);
  const std::optional<Lead> l = lead(results);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].push_back(i > 0 && l && rows[i][0] == l->best ? "best" : "");
  fmt::print("{} variants, {} seeds\n", file.variants.size(), file.seeds.size());
  fmt::print("loss: cross-entropy alone, validation text, nats per token; mean ± standard deviation over seeds\n\n{}\n",
             aligned(rows));
  fmt::print("{}", verdict(results));
}

}  // namespace

int run_sweep(int argc, char** argv) {
  const std::atomic<bool>& stop = interruptible();
  const SweepFlags flags = read_flags(argc, argv);
  SweepFile file = read_sweep(flags.file);
  for (Variant& v : file.variants) v.config.device = flags.place.device;
  const fs::path out = flags.out;
  const Sweep sweep{
      .name = fs::path(flags.file).stem().string(), .variants = file.variants, .seeds = file.seeds, .out = out};
  const std::optional<Results> results = train_sweep(sweep, stop);
  if (!results) {
    fmt::print(stderr, "stopped; to go on: ./run sweep {} --out {}{}\n", flags.file, flags.out,
               flags.place.device == Device::cuda ? " --device cuda" : "");
    return 130;
  }
  const std::vector<Column> columns = file.columns.empty() ? usual_columns(*results) : file.columns;
  write_file(out / "table.csv", as_csv(file, *results, columns));
  write_file(out / "clocks.csv", clocks_csv(*results));
  if (flags.common.json)
    fmt::print("{}\n", as_json(file, *results, columns).dump());
  else
    print_table(file, *results, columns);
  fmt::print(stderr, "{0}/table.csv has these numbers, {0}/clocks.csv how long each run took\n", flags.out);
  return 0;
}

}  // namespace switchyard
