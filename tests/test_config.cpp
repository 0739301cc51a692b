// Configurations as JSON, as printed lines and as flags.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "infer/flags.h"
#include "infer/sampler.h"
#include "tests/scratch.h"
#include "train/commands.h"

using namespace switchyard;
using nlohmann::json;

namespace switchyard {

enum class Colour { red, dark_blue };
template <>
struct EnumNames<Colour> {
  static constexpr std::string_view names[] = {"red", "dark-blue"};
};
// Every type that a field may have.
struct Kinds {
  int count = 3;
  int64_t big = 5;
  uint64_t seed = 7;
  double share = 0.25;
  std::optional<int> limit;
  std::optional<double> factor = 1.5;
  bool on = false;
  std::string title = "none yet";
  Colour colour = Colour::dark_blue;
};
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, Kinds>
constexpr void visit(Config& c, F&& f) {
  f("count", c.count, -2, 10, "a count");
  f("big", c.big, int64_t{0}, int64_t{1} << 60, "a big count");
  f("seed", c.seed, uint64_t{0}, UINT64_MAX, "a seed");
  f("the-share", c.share, 0.0, 1.0, "a share");
  f("limit", c.limit, 1, 9, "a limit");
  f("factor", c.factor, 0.5, 2.0, "a factor");
  f("on", c.on, "a switch");
  f("title", c.title, "a text");
  f("colour", c.colour, "a colour");
}

}  // namespace switchyard

namespace {

std::string set_error(const json& object) {
  Kinds kinds;
  const json before = to_json(kinds);
  const std::string message = error_of([&] { from_json(object, kinds, "f.json"); });
  CHECK(to_json(kinds) == before);  // an error leaves everything as it was
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

// What a command line does to a Kinds with one text flag and one list.
struct Line {
  Kinds kinds;
  std::optional<std::string> text;
  std::vector<std::string> list;
  std::string error;
  explicit Line(std::vector<const char*> words) {
    words.insert(words.begin(), "program");
    CLI::App app("about", "program");
    add_flags(app, kinds);
    add_text_flag(app, "--text", text, "a text");
    add_text_flag(app, "--list", list, "a list");
    error = error_of([&] { parse_flags(app, static_cast<int>(words.size()), words.data()); });
  }
};

int exit_code(const std::function<int(int, char**)>& program) { return run_program(0, nullptr, program); }

}  // namespace

TEST_CASE("config: nearest is the candidate with the fewest edits, the first of equals") {
  const std::vector<std::string> words = {"kitten", "top_k", "top_p", "width"};
  CHECK(nearest("sitting", words) == "kitten");
  CHECK(nearest("top", words) == "top_k");
  CHECK(nearest("top_p", words) == "top_p");
  CHECK(nearest("", words) == "top_k");  // the shortest
  CHECK(nearest("with", words) == "width");
  CHECK(nearest("x", {}) == "");
}

TEST_CASE("config: JSON has one key a field, with underscores") {
  CHECK(to_json(Kinds{}) == json::parse(R"({"count":3, "big":5, "seed":7, "the_share":0.25, "limit":null, "factor":1.5,
                                            "on":false, "title":"none yet", "colour":"dark-blue"})"));
  const json model = to_json(ModelConfig{});
  CHECK(model.size() == 57);
  CHECK(model["head_dim"].is_null());
  CHECK(model["gate_norm"] == "sum-to-one");
  CHECK(to_json(SamplerConfig{}).size() == 6);
}

TEST_CASE("config: what is written is read back, the extremes included") {
  Kinds kinds{.count = -2,
              .big = int64_t{1} << 60,
              .seed = UINT64_MAX,
              .share = 0.1,
              .limit = 9,
              .factor = {},
              .on = true,
              .title = "a \"b\"\n",
              .colour = Colour::red};
  const json written = json::parse(to_json(kinds).dump());
  Kinds read;
  from_json(written, read, "f.json");
  CHECK(to_json(read) == written);
  CHECK(read.seed == UINT64_MAX);
  CHECK(read.share == 0.1);
  CHECK_FALSE(read.factor.has_value());
  CHECK(read.title == kinds.title);
  from_json(json::parse(R"({"count": 4, "the_share": 1})"), read, "f.json");  // what is not named stays
  CHECK(read.count == 4);
  CHECK(read.share == 1);
  CHECK(read.limit == 9);
}

TEST_CASE("config: errors in JSON name the file, the key, the value and what would be right") {
  CHECK(set_error({{"cuont", 4}}) == "f.json: cuont: no such key; did you mean count?");
  CHECK(set_error({{"count", 11}}) == "f.json: count 11: must be -2 to 10");
  CHECK(set_error({{"count", -3}}) == "f.json: count -3: must be -2 to 10");
  CHECK(set_error({{"count", 4294967297}}) == "f.json: count 4294967297: must be a whole number, -2 to 10");
  CHECK(set_error({{"count", 2.5}}) == "f.json: count 2.5: must be a whole number, -2 to 10");
  CHECK(set_error({{"count", "4"}}) == "f.json: count 4: must be a whole number, -2 to 10");
  CHECK(set_error({{"count", true}}) == "f.json: count true: must be a whole number, -2 to 10");
  CHECK(set_error({{"count", nullptr}}) == "f.json: count none: must be a whole number, -2 to 10");
  CHECK(set_error({{"seed", -1}}) == "f.json: seed -1: must be a whole number, 0 to 18446744073709551615");
  CHECK(set_error({{"the_share", 1.5}}) == "f.json: the_share 1.5: must be 0 to 1");
  CHECK(set_error({{"the_share", "x"}}) == "f.json: the_share x: must be 0 to 1");
  CHECK(set_error({{"the_share", NAN}}) == "f.json: the_share nan: must be 0 to 1");
  CHECK(set_error({{"limit", 0}}) == "f.json: limit 0: must be 1 to 9, or none");
  CHECK(set_error({{"on", 1}}) == "f.json: on 1: must be true or false");
  CHECK(set_error({{"on", "true"}}) == "f.json: on true: must be true or false");
  CHECK(set_error({{"title", 1}}) == "f.json: title 1: must be text");
  CHECK(set_error({{"colour", "blue"}}) == "f.json: colour blue: must be red or dark-blue");
  CHECK(set_error({{"colour", 0}}) == "f.json: colour 0: must be red or dark-blue");
  CHECK(set_error({1, 2}) == "f.json: a JSON array: must be an object");
  CHECK(set_error({{"count", 4}, {"title", 1}}) == "f.json: title 1: must be text");  // and count is not set
  CHECK(set_error({{"a\nb", 4}}).find("did you mean") != std::string::npos);
  CHECK(set_error({{"colour", std::string(5000, 'x') + "\n"}}).size() < 200);
  CHECK(set_error({{"colour", "\xff"}}).find("must be red or dark-blue") != std::string::npos);
}

TEST_CASE("config: printed lines are aligned") {
  CHECK(to_text(Kinds{}) ==
        "count      3\nbig        5\nseed       7\nthe-share  0.25\nlimit      none\nfactor     1.5\non         false\n"
        "title      none yet\ncolour     dark-blue\n");
}

TEST_CASE("flags: every kind of field") {
  const Line line({"--count", "-1", "--big=77", "--seed", "18446744073709551615", "--the-share", ".5", "--limit", "4",
                   "--factor", "none", "--on", "--title", "--on", "--colour", "red"});
  CHECK(line.error == "no error");
  CHECK(line.kinds.count == -1);
  CHECK(line.kinds.big == 77);
  CHECK(line.kinds.seed == UINT64_MAX);
  CHECK(line.kinds.share == 0.5);
  CHECK(line.kinds.limit == 4);
  CHECK_FALSE(line.kinds.factor.has_value());
  CHECK(line.kinds.on);
  CHECK(line.kinds.title == "--on");
  CHECK(line.kinds.colour == Colour::red);
  CHECK_FALSE(Line({"--on", "--on=false"}).kinds.on);
  CHECK(Line({"--on=true"}).kinds.on);
  CHECK(Line({"--count", "1", "--count", "2"}).kinds.count == 2);
  CHECK(Line({}).kinds.count == 3);
}

TEST_CASE("flags: errors name the flag, the value and what would be right") {
  CHECK(Line({"--count", "11"}).error == "--count 11: must be -2 to 10");
  CHECK(Line({"--count", "1x"}).error == "--count 1x: must be a whole number, -2 to 10");
  CHECK(Line({"--count="}).error == "--count : must be a whole number, -2 to 10");
  CHECK(Line({"--the-share", "nan"}).error == "--the-share nan: must be 0 to 1");
  CHECK(Line({"--on=maybe"}).error == "--on maybe: must be true or false");
  CHECK(Line({"--colour", "0"}).error == "--colour 0: must be red or dark-blue");
  CHECK(Line({"--cuont", "4"}).error == "--cuont: no such flag; did you mean --count?");
  CHECK(Line({"--cuont=4"}).error == "--cuont: no such flag; did you mean --count?");
  CHECK(Line({"-count", "4"}).error == "-count: no such flag; did you mean --count?");
  CHECK(Line({"--the_share", "1"}).error == "--the_share: no such flag; did you mean --the-share?");
  CHECK(Line({"--count"}).error == "--count: needs a value");
  CHECK(Line({"word"}).error.starts_with("word: belongs to no flag"));

  ModelConfig model;
  CLI::App app("about", "program");
  add_flags(app, model);
  const char* wrong[] = {"program", "--experts", "0"};
  CHECK(error_of([&] { parse_flags(app, 3, wrong); }) == "--experts 0: must be 1 to 4096");
  const char* unknown[] = {"program", "--expert", "4"};
  CHECK(error_of([&] { parse_flags(app, 3, unknown); }) == "--expert: no such flag; did you mean --experts?");
}

TEST_CASE("flags: a text is taken as it stands, and a list grows") {
  for (const char* text : {"", " ", "{}", "[a,b]", "%%", "\"q\"", "--", "-x", "--list", "a b\nc", "\xff", "='"}) {
    CAPTURE(text);
    CHECK(Line({"--text", text}).text == text);
    CHECK(Line({"--text", "other", "--text", text}).text == text);
    CHECK(Line({"--list", text, "--list", "b", "--list", text}).list == std::vector<std::string>{text, "b", text});
    CHECK(Line({("--text=" + std::string(text)).c_str(), "--count", "1"}).text == text);
  }
  CHECK_FALSE(Line({}).text.has_value());
}

TEST_CASE("flags: commands") {
  int ran = 0;
  const auto run = [&](std::vector<const char*> words) {
    words.insert(words.begin(), "program");
    Kinds kinds;
    CLI::App app("about", "program");
    app.require_subcommand(1);
    add_flags(*app.add_subcommand("paint", "paints"), kinds);
    return error_of([&] { parse_flags(app, static_cast<int>(words.size()), words.data()), ran = kinds.count; });
  };
  CHECK(run({"paint", "--count", "5"}) == "no error");
  CHECK(ran == 5);
  CHECK(run({"pant", "--count", "5"}) == "pant: no such command; did you mean paint?");
  CHECK(run({"paint", "--colr", "red"}) == "--colr: no such flag; did you mean --colour?");
  CHECK(run({}) == "no command; program --help lists them");
}

TEST_CASE("flags: help shows the meaning, the range and the default") {
  Kinds kinds;
  CLI::App app("about", "program");
  add_flags(app, kinds, "Model");
  const std::string help = app.help();
  CHECK(help.find("Model:") != std::string::npos);
  CHECK(help.find("--count VALUE") != std::string::npos);
  CHECK(help.find("a count (-2 to 10; default 3)") != std::string::npos);
  CHECK(help.find("a colour (red or dark-blue; default dark-blue)") != std::string::npos);
  CHECK(help.find("a limit (1 to 9; default none)") != std::string::npos);
}

TEST_CASE("flags: an early flag is found in both spellings") {
  const char* words[] = {"program", "--presets", "no", "--preset", "a", "--preset=b", "--count", "1"};
  CHECK(early_flag(8, words, "--preset") == "b");
  CHECK(early_flag(5, words, "--preset") == "a");
  CHECK_FALSE(early_flag(3, words, "--preset").has_value());
  CHECK(error_of([&] { early_flag(4, words, "--preset"); }) == "--preset: needs a value");
}

TEST_CASE("flags: exit codes") {
  CHECK(exit_code([](int, char**) { return 3; }) == 3);
  CHECK(exit_code([](int, char**) -> int { throw CLI::CallForHelp(); }) == 0);
  CHECK(exit_code([](int, char**) -> int { fail("this line is part of the test"); }) == 2);
  CHECK(exit_code([](int, char**) -> int { throw std::bad_alloc(); }) == 1);
  CHECK(exit_code([](int, char**) -> int { throw std::logic_error("this line is part of the test"); }) == 1);
}

TEST_CASE("flags: a run goes on where it ran") {
  RunConfig run{.source = {}, .model = {}, .train = {}, .out = "runs/a"};
  CHECK(resume_command(run) == "./run train --resume --out runs/a");
  run.device = Device::cuda;
  CHECK(resume_command(run) == "./run train --resume --out runs/a --device cuda");
}
