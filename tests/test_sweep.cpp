// What a sweep's file means, what is refused in it, and what a table says of chance.
#include <cmath>

#include "tests/scratch.h"
#include "train/sweep_file.h"

using namespace switchyard;

namespace {

SweepFile read_text(const Scratch& dir, std::string_view text) {
  write_file(dir.path / "s.json", text);
  return read_sweep(dir.path / "s.json");
}

// The error without the folder's name.
std::string refused(const Scratch& dir, std::string_view text) {
  const std::string error = error_of([&] { read_text(dir, text); }), folder = dir.path.string() + "/";
  return error.starts_with(folder) ? error.substr(folder.size()) : error;
}

std::vector<std::string> labels(const SweepFile& file) {
  std::vector<std::string> all;
  for (const Variant& v : file.variants) all.push_back(v.label);
  return all;
}

Outcome run(const char* variant, uint64_t seed, double loss) {
  return {.variant = variant, .seed = seed, .number = {{"loss", loss}}};
}

}  // namespace

TEST_SUITE_BEGIN("sweep");

TEST_CASE("a grid is the product of its lists, the last key fastest, over the settings and a preset") {
  const Scratch dir;
  const SweepFile file = read_text(dir, R"({
    // comments are allowed
    "settings": {"preset": "mixtral-tiny", "steps": 7, "top-k": 1, "gate_norm": "none", "capacity": 1.5},
    "grid": {"rate": [0.01, 0.001], "experts": [2, 4, 8]},
    "seeds": 2})");
  CHECK(labels(file) == std::vector<std::string>{"rate 0.01, experts 2", "rate 0.01, experts 4", "rate 0.01, experts 8",
                                                 "rate 0.001, experts 2", "rate 0.001, experts 4",
                                                 "rate 0.001, experts 8"});
  CHECK(file.seeds == std::vector<uint64_t>{1, 2});
  const RunConfig& c = file.variants[4].config;
  CHECK(c.train.rate == 0.001);
  CHECK(c.model.experts == 4);
  CHECK(c.train.steps == 7);
  CHECK(c.model.top_k == 1);
  CHECK(c.model.capacity == 1.5);
  CHECK(c.model.kv_heads == 2);  // mixtral-tiny's
  CHECK(file.varied == std::vector<std::string>{"rate", "experts"});
  CHECK(file.how[5] == std::vector<std::string>{"0.001", "8"});
}

TEST_CASE("a list has labels, presets, dense twins and texts of its own; seeds may be listed") {
  const Scratch dir;
  write_file(dir.path / "a.txt", "a text");
  const SweepFile file = read_text(dir, fmt::format(R"({{
    "settings": {{"steps": 3}}, "seeds": [5, 1],
    "list": [{{"label": "Dense", "dense-twin": true}}, {{"preset": "olmoe-tiny", "capacity": null}}, {{}},
             {{"label": "mine", "data": ["{}"]}}]}})",
                                                    (dir.path / "a.txt").string()));
  CHECK(labels(file) == std::vector<std::string>{"Dense", "preset olmoe-tiny, capacity none", "as they are", "mine"});
  CHECK(file.seeds == std::vector<uint64_t>{5, 1});
  CHECK(file.variants[0].config.model.dense());
  CHECK(file.variants[1].config.model.experts == 64);
  CHECK(file.variants[1].config.train.steps == 3);  // the settings stand above any preset
  CHECK(file.variants[2].config.model.experts == 8);
  CHECK(file.variants[3].config.source.files.size() == 1);
  CHECK(file.variants[2].config.source.built_in());
}

TEST_CASE("what is wrong in a file is said before anything is made, with the place and what would be right") {
  const Scratch dir;
  CHECK(refused(dir, "{") == "s.json: not JSON at line 1, column 2: syntax error while parsing object key");
  CHECK(refused(dir, R"({"grid": {"adapters": ["all"]}})").find("a new model has nothing to adapt") !=
        std::string::npos);
  CHECK(refused(dir, R"({"list": [{"gradient-noise": true}]})").find("needs --accumulate 2") != std::string::npos);
  CHECK(refused(dir, R"({"grid": {"rate": [1e999]}})") == "s.json: not JSON: a number is too large for a double");
  CHECK(refused(dir, "[1]") == "s.json: a JSON array: must be an object");
  CHECK(refused(dir, R"({"gird": {}})") == "s.json: gird: no such key; did you mean grid?");
  CHECK(refused(dir, R"({"seeds": 3})") == R"(s.json: nothing to compare: must have one of "grid" and "list")");
  CHECK(refused(dir, R"({"grid": {"rte": [1]}})") == "s.json: rte 1: rte: no such key; did you mean rate?");
  CHECK(refused(dir, R"({"grid": {"rate": 0.1}})") == "s.json: grid: rate 0.1: must be a list of values");
  CHECK(refused(dir, R"({"grid": {"experts": [4, 0]}})") == "s.json: experts 0: experts 0: must be 1 to 4096");
  CHECK(refused(dir, R"({"settings": {"preset": "dmeo"}, "grid": {"rate": [0.1]}})") ==
        "s.json: rate 0.1: --preset dmeo: no such preset; did you mean demo?");
  CHECK(refused(dir, R"({"settings": {"seed": 1}, "grid": {"rate": [0.1]}})") ==
        R"(s.json: settings: seed: stands in "seeds", for every variant)");
  // Fields that contradict each other in one combination alone.
  CHECK(
      refused(dir, R"({"grid": {"experts": [4, 8], "top-k": [2, 5]}})").find("s.json: experts 4, top-k 5: --top-k 5") ==
      0);
  CHECK(refused(dir, R"({"grid": {"rate": [0.1]}, "seeds": [1, 1]})") ==
        "s.json: seeds [1,1]: must be 1 to 100, each once");
  CHECK(refused(dir, R"({"grid": {"rate": [0.1]}, "seeds": 0})") == "s.json: seeds 0: must be 1 to 100, each once");
  CHECK(refused(dir, R"({"grid": {"rate": [0.1]}, "columns": ["los"]})") ==
        "s.json: columns: los: no such column; did you mean loss?");
  CHECK(refused(dir, R"({"list": [{"label": "A b"}, {"label": "a-B"}]})") ==
        R"(s.json: a-B: its folder would be a-b, as another's; give it another "label")");
  CHECK(refused(dir, R"({"list": [{"data": ["none.txt"]}]})").find("data none.txt: no such file") != std::string::npos);
}

TEST_CASE("a lead is more than chance beyond Student's t: 2.27 deviations for three seeds each") {
  Results r;
  r.variants = {"a", "b", "gone"};
  for (uint64_t seed : {1, 2, 3}) {
    r.outcomes.push_back(run("a", seed, 2 + 0.1 * double(seed)));    // 2.2 ± 0.1
    r.outcomes.push_back(run("b", seed, 1.8 + 0.1 * double(seed)));  // 2.0 ± 0.1
    r.outcomes.push_back(run("gone", seed, 1));
  }
  r.outcomes.back().number["diverged"] = 1;  // the lowest, but from one seed it diverged
  std::optional<Lead> l = lead(r);
  REQUIRE(l);
  CHECK(l->best == "b");
  CHECK(l->next == "a");
  CHECK(l->gap == doctest::Approx(0.2));
  CHECK(*l->deviations == doctest::Approx(2));
  CHECK(*l->needed == doctest::Approx(2.776 * std::sqrt(2.0 / 3)));  // the book's 2.3
  r.outcomes.resize(2);                                              // one seed each
  l = lead(r);
  CHECK((l && !l->needed));
  CHECK(table_rows(r, {{"loss", "loss", 2}})[3][1] == "diverged");
  r.outcomes.clear();
  CHECK(!lead(r));
}

TEST_SUITE_END();
