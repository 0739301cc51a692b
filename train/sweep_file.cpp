#include "train/sweep_file.h"

#include <algorithm>
#include <set>

#include "moe/config_io.h"
#include "moe/size.h"
#include "train/presets.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;  // the order of a grid's keys is that of its rows

constexpr size_t most_variants = 1000;
constexpr size_t longest_label = 120;  // it names a folder

const Json& object(const Json& value, const std::string& where) {
  check(value.is_object(), "{}: a JSON {}: must be an object", where, value.type_name());
  return value;
}

std::string text(const Json& value, const std::string& label) {
  check(value.is_string(), "{}{}: must be a text", label, value_text(value));
  return value.get<std::string>();
}

// What a flag of ./run train is that no field is.
bool is_own_flag(const std::string& key) { return key == "preset" || key == "data" || key == "dense-twin"; }

// One configuration while it is put together.
class Entry {
 public:
  // The preset that `settings` or, before them, `own` names.
  Entry(const Json& settings, const Json& own, const std::string& where) {
    const Json* named = own.contains("preset") ? &own : settings.contains("preset") ? &settings : nullptr;
    const std::string preset = named ? text((*named)["preset"], where + ": preset ") : "demo";
    try {
      config_.model = find_preset(preset).model, config_.train = find_preset(preset).train;
    } catch (const Error& error) {
      fail("{}: {}", where, error.what());
    }
  }

  // Sets what the object names. `where` is in front of errors.
  void set(const Json& settings, const std::string& where) {
    std::vector<Field> fields = list_fields(config_.model);
    for (Field& field : list_fields(config_.train)) fields.push_back(field);
    std::vector<std::string> known{"preset", "data", "dense-twin"};
    for (const Field& field : fields) known.push_back(field.name);
    for (const auto& [written, value] : settings.items()) {
      std::string key = written;
      std::replace(key.begin(), key.end(), '_', '-');  // as config.json writes them
      check(key != "seed", "{}: seed: stands in \"seeds\", for every variant", where);
      const auto found = std::find(known.begin(), known.end(), key);
      check(found != known.end(), "{}: {}: no such key; did you mean {}?", where, value_text(written),
            nearest(key, known));
      const std::string label = fmt::format("{}: {} ", where, written);
      if (is_own_flag(key))
        set_own(key, value, label);
      else
        fields[static_cast<size_t>(found - known.begin()) - 3].set(nlohmann::json(value), label);
    }
  }

  RunConfig finished(const std::string& where) {
    if (dense_twin_) config_.model = dense_twin(config_.model);
    try {
      validate(config_.model);
      check_trainable(config_);
    } catch (const Error& error) {
      fail("{}: {}", where, error.what());
    }
    return config_;
  }

 private:
  void set_own(const std::string& key, const Json& value, const std::string& label) {
    if (key == "dense-twin") {
      check(value.is_boolean(), "{}{}: must be true or false", label, value_text(value));
      dense_twin_ = value.get<bool>();
    }
    if (key != "data") return;
    check(value.is_array(), "{}{}: must be a list of files", label, value_text(value));
    config_.source.files.clear();
    for (const Json& file : value) {
      const fs::path path = text(file, label);
      check(fs::is_regular_file(path), "{}{}: no such file", label, path.string());
      config_.source.files.push_back(path);
    }
  }

  RunConfig config_;
  bool dense_twin_ = false;
};

// The grid's combinations, the last key fastest.
std::vector<Json> product(const Json& grid, const std::string& where) {
  std::vector<Json> all{Json::object()};
  for (const auto& [key, values] : object(grid, where).items()) {
    check(values.is_array() && !values.empty(), "{}: {} {}: must be a list of values", where, key, value_text(values));
    std::vector<Json> longer;
    for (const Json& entry : all)
      for (const Json& value : values) {
        longer.push_back(entry);
        longer.back()[key] = value;
      }
    all = std::move(longer);
    check(all.size() <= most_variants, "{}: {} combinations: at most {}", where, all.size(), most_variants);
  }
  return all;
}

std::vector<Json> entries(const Json& file, const std::string& where) {
  const bool grid = file.contains("grid"), list = file.contains("list");
  check(grid != list, "{}: {}: must have one of \"grid\" and \"list\"", where, grid ? "both" : "nothing to compare");
  if (grid) return product(file["grid"], where + ": grid");
  check(file["list"].is_array() && !file["list"].empty(), "{}: list: must be a list of objects", where);
  check(file["list"].size() <= most_variants, "{}: list of {}: at most {}", where, file["list"].size(), most_variants);
  return {file["list"].begin(), file["list"].end()};
}

// "rate 0.001, experts 8"
std::string label_of(const Json& entry) {
  std::string label;
  for (const auto& [key, value] : entry.items())
    label += fmt::format("{}{} {}", label.empty() ? "" : ", ", key, value_text(value));
  return label.empty() ? "as they are" : label;
}

// Takes "label" out of the entry, if there is one.
std::string take_label(Json& entry, const std::string& where) {
  if (!entry.contains("label")) return label_of(entry);
  const std::string label = text(entry["label"], where + ": label ");
  entry.erase("label");
  return label;
}

std::vector<uint64_t> read_seeds(const Json& value, const std::string& where) {
  const auto whole = [&](const Json& x) {
    check(x.is_number_unsigned(), "{}: seeds {}: must be how many, or a list of them", where, value_text(x));
    return x.get<uint64_t>();
  };
  std::vector<uint64_t> seeds;
  if (value.is_array())
    for (const Json& seed : value) seeds.push_back(whole(seed));
  else if (whole(value) <= 100)
    for (uint64_t seed = 1; seed <= whole(value); ++seed) seeds.push_back(seed);
  const bool twice = std::set(seeds.begin(), seeds.end()).size() < seeds.size();
  check(!twice && !seeds.empty() && seeds.size() <= 100, "{}: seeds {}: must be 1 to 100, each once", where,
        value_text(value));
  return seeds;
}

std::vector<Column> read_columns(const Json& names, const std::string& where) {
  check(names.is_array() && !names.empty(), "{}: columns {}: must be a list of names", where, value_text(names));
  std::vector<Column> columns;
  for (const Json& listed : names) {
    const std::string name = text(listed, where + ": columns ");
    std::vector<std::string> known;
    for (const NamedColumn& column : table_columns()) known.emplace_back(column.name);
    const auto found = std::find(known.begin(), known.end(), name);
    check(found != known.end(), "{}: columns: {}: no such column; did you mean {}?", where, value_text(name),
          nearest(name, known));
    columns.push_back(table_columns()[static_cast<size_t>(found - known.begin())].column);
  }
  return columns;
}

Json parsed(const fs::path& file) {
  try {
    return Json::parse(read_file(file), nullptr, true, true);
  } catch (const Json::parse_error& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line 3, column 5: …"
    const size_t at = what.find("at line"), end = what.find(" - ");
    fail("{}: not JSON{}", file.string(), at == what.npos ? "" : " " + what.substr(at, end - at));
  } catch (const Json::out_of_range&) {
    fail("{}: not JSON: a number is too large for a double", file.string());
  }
}

}  // namespace

SweepFile read_sweep(const fs::path& path) {
  const std::string where = path.string();
  const Json file = parsed(path);
  const std::vector<std::string> keys{"settings", "grid", "list", "seeds", "columns"};
  for (const auto& [key, value] : object(file, where).items())
    check(std::find(keys.begin(), keys.end(), key) != keys.end(), "{}: {}: no such key; did you mean {}?", where,
          value_text(key), nearest(key, keys));
  const Json settings = file.contains("settings") ? file["settings"] : Json::object();
  object(settings, where + ": settings");
  SweepFile sweep;
  if (file.contains("seeds")) sweep.seeds = read_seeds(file["seeds"], where);
  if (file.contains("columns")) sweep.columns = read_columns(file["columns"], where);
  std::vector<Json> all = entries(file, where);
  std::set<std::string> folders;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string number = fmt::format("{}: list entry {}", where, i + 1);
    const std::string label = take_label(all[i] = object(all[i], number), number);
    const std::string here = fmt::format("{}: {}", where, label);
    Entry entry(settings, all[i], here);
    entry.set(settings, where + ": settings");
    entry.set(all[i], here);
    sweep.variants.push_back({.label = label, .config = entry.finished(here)});
    check(!slug(label).empty() && slug(label).size() <= longest_label, "{}: its folder would be \"{}\"; give it a {}",
          here, slug(label), "\"label\" of letters and digits, at most 120 of them, in a \"list\"");
    check(folders.insert(slug(label)).second, "{}: its folder would be {}, as another's; give it another \"label\"",
          here, slug(label));
    for (const auto& [key, value] : all[i].items())
      if (std::find(sweep.varied.begin(), sweep.varied.end(), key) == sweep.varied.end()) sweep.varied.push_back(key);
  }
  for (const Json& entry : all) {
    sweep.how.emplace_back();
    for (const std::string& key : sweep.varied)
      sweep.how.back().push_back(entry.contains(key) ? value_text(nlohmann::json(entry[key])) : "");
  }
  return sweep;
}

std::span<const NamedColumn> table_columns() {
  static const NamedColumn columns[] = {
      {"loss", {"loss", "loss", 4}, true},
      {"above-floor", {"above floor per byte", "above_floor", 4}, true},
      {"max-over-mean", {"busiest over mean", "max_over_mean", 2}, true},
      {"dropped", {"dropped at the end", "at the end: drop_rate", 3}, true},
      {"parameters", {"parameters", "parameters", 0}, true},
      {"active", {"active", "active_parameters", 0}, true},
      {"perplexity", {"perplexity", "perplexity", 3}, false},
      {"nats-per-byte", {"nats per byte", "nats_per_byte", 4}, false},
      {"load-variation", {"variation of load", "load_variation", 2}, false},
      {"dead", {"dead experts", "dead", 1}, false},
      {"train-loss", {"training loss", "at the end: loss", 4}, false},
      {"gradient-norm", {"gradient norm", "at the end: gradient_norm", 2}, false},
      {"teraflops", {"TFLOPs", "teraflops", 3}, false},
  };
  return columns;
}

std::string_view sweep_example() {
  return R"({
  "settings": {"preset": "mixtral-tiny", "steps": 100},      // flags of ./run train, for all runs
  "grid": {"rate": [0.001, 0.003, 0.01], "experts": [4, 8]}, // every combination
  "seeds": 3                                                 // or a list: [1, 2, 5]
}
Instead of "grid", a list of variants: "list": [{"label": "dense", "dense-twin": true}, {"capacity": 1.25}].
)";
}

}  // namespace switchyard
