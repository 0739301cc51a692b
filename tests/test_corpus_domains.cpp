// What the built-in corpus says is true: each domain's documents are read back by a small reader written here, from
// what the text means and not from the generator, and checked for consistency.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 sees it in <regex> when it builds with sanitizers
#endif
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "train/corpus/corpus.h"

using namespace switchyard;

namespace {

std::vector<std::string> documents(Domain domain, int count, int people = 200) {
  CorpusConfig config{.seed = 11, .people = people, .weights = {}};
  config.weights[static_cast<size_t>(domain)] = 1;
  const Corpus corpus(config);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) texts.push_back(corpus.document(static_cast<uint64_t>(i)).text);
  return texts;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Every match of the pattern: its groups, the whole match first.
std::vector<std::smatch> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return {std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()};
}

int count_of(const std::string& text, std::string_view word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// ---- programs: an interpreter of its own, line by line ----
struct Interpreter {
  std::vector<std::string> lines;
  std::map<std::string, int64_t> values;
  std::string output;

  int64_t value(const std::string& token) { return std::isdigit(token[0]) ? std::stoll(token) : values.at(token); }
  int64_t expression(std::istringstream& words) {
    std::string left, op, right;
    words >> left >> op >> right;
    if (op.empty()) return value(left);
    return op == "+" ? value(left) + value(right) : op == "-" ? value(left) - value(right) : value(left) * value(right);
  }
  void simple(const std::string& line) {
    std::istringstream words(line);
    std::string first, equals;
    words >> first;
    if (first != "print") {
      words >> equals;
      const int64_t result = expression(words);
      values[first] = result;
    } else if (const size_t quote = line.find('"'); quote != std::string::npos) {
      output += line.substr(quote + 1, line.rfind('"') - quote - 1) + "\n";
    } else {
      output += std::to_string(expression(words)) + "\n";
    }
  }
  size_t body_end(size_t at) {
    while (at < lines.size() && lines[at].starts_with("  ")) ++at;
    return at;
  }
  void block(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) simple(lines[i]);
  }
  void run() {
    for (size_t at = 0; at < lines.size();) {
      std::istringstream words(lines[at]);
      std::string first, a, op, b;
      words >> first >> a >> op >> b;
      const size_t end = body_end(at + 1);
      if (first == "repeat") {
        for (int i = 0; i < std::stoi(a); ++i) block(at + 1, end);
      } else if (first == "for") {
        const int last = std::stoi(lines[at].substr(lines[at].find("to ") + 3));
        for (values["i"] = 1; values["i"] <= last; ++values["i"]) block(at + 1, end);
      } else if (first == "if") {
        b.pop_back();  // the colon
        const bool holds = op == "<" ? value(a) < value(b) : op == ">" ? value(a) > value(b) : value(a) == value(b);
        const bool has_else = end < lines.size() && lines[end] == "else:";
        const size_t else_end = has_else ? body_end(end + 1) : end;
        holds ? block(at + 1, end) : block(has_else ? end + 1 : end, else_end);
        at = else_end;
        continue;
      } else {
        simple(lines[at]);
      }
      at = end;
    }
  }
};

// ---- games: Nim, move by move ----
void check_nim(const std::string& text, const std::string& title, const std::string& result,
               const std::array<std::string, 2>& players) {
  const auto numbers = matches(title, "\\d");
  std::array<int, 3> heaps;
  for (int i = 0; i < 3; ++i) heaps[i] = std::stoi(numbers[i].str());
  int moves = 0;
  for (const auto& match : matches(
           text, "(\\w+) takes (\\d|all|the last stone)[a-z ]* the (first|second|third) heap: (\\d), (\\d), (\\d)")) {
    CHECK(match[1] == players[moves++ % 2]);
    int& heap = heaps[match[3] == "first" ? 0 : match[3] == "second" ? 1 : 2];
    const int taken = match[2] == "all" ? heap : match[2] == "the last stone" ? 1 : std::stoi(match[2]);
    CHECK((taken >= 1 && taken <= heap));
    heap -= taken;
    for (int i = 0; i < 3; ++i) CHECK(heaps[i] == std::stoi(match[4 + i]));
  }
  CHECK(heaps == std::array{0, 0, 0});
  CHECK(result.starts_with(players[(moves - 1) % 2]));
}

int minutes(const std::string& clock) { return std::stoi(clock.substr(0, 2)) * 60 + std::stoi(clock.substr(3, 2)); }

}  // namespace

TEST_CASE("corpus: a story has two characters, one obstacle and the pronouns of its hero") {
  const std::set<std::string> girls = {"Tilda", "Mina",  "Rosa",  "Clara", "Ivy", "Nell",
                                       "Flora", "Hazel", "Wilma", "Lotte", "Pia", "Greta"};
  const std::set<std::string> boys = {"Bruno", "Otto",  "Felix",  "Oscar", "Milo",  "Hugo",
                                      "Emil",  "Anton", "Jasper", "Theo",  "Rufus", "Edgar"};
  const std::vector<std::string> places = {"wide river", "high wall",    "dark forest", "locked gate", "deep well",
                                           "steep hill", "thorny hedge", "angry dog",   "tall tree",   "frozen lake"};
  std::set<std::string> seen_places, seen_names;
  for (const std::string& text : documents(Domain::stories, 400)) {
    CAPTURE(text);
    std::vector<std::string> order;  // of appearance: the hero first
    for (const auto& match : matches(text, "[A-Z][a-z]+")) {
      const std::string word = match.str();
      if ((girls.contains(word) || boys.contains(word)) && std::find(order.begin(), order.end(), word) == order.end())
        order.push_back(word);
    }
    REQUIRE(order.size() == 2);
    seen_names.insert(order[0]);
    int found = 0;
    for (const std::string& place : places) {
      if (count_of(text, place)) ++found, seen_places.insert(place);
    }
    CHECK(found == 1);
    const bool she = !matches(text, "\\b[Ss]he\\b").empty(), he = !matches(text, "\\b[Hh]e\\b").empty();
    CHECK(!(girls.contains(order[0]) ? he : she));  // only the hero is called "she" or "he"
    CHECK(text.find(" a o") == std::string::npos);  // an owl, an otter
  }
  CHECK(seen_places.size() == places.size());
  CHECK(seen_names.size() == 24);
}

TEST_CASE("corpus: the facts of a person agree in all documents") {
  std::map<std::string, std::string> birth, work, teacher, dish;
  int told = 0;
  const auto agree = [&](std::map<std::string, std::string>& known, const std::string& person,
                         const std::string& fact) {
    ++told;
    return known.try_emplace(person, fact).first->second == fact;
  };
  for (const std::string& text : documents(Domain::biographies, 1000, 40)) {
    CAPTURE(text);
    const auto full_name = matches(text, "^[A-Z][a-z]+ [A-Z][a-z]+");
    REQUIRE(full_name.size() == 1);
    const std::string person = full_name[0].str();
    for (const auto& match : matches(text, "\\b1[789]\\d\\d\\b")) CHECK(agree(birth, person, match.str()));
    for (const auto& match : matches(text, "The ([A-Z][a-z]+ [A-Z][a-z]+)")) CHECK(agree(work, person, match[1]));
    for (const auto& match :
         matches(text, "(?:pupil of|learned from|teacher was|studied with) ([A-Z][a-z]+ [A-Z][a-z]+)")) {
      CHECK(agree(teacher, person, match[1]));
      CHECK(match[1] != person);
    }
    for (const auto& match : matches(text, "(?:favourite dish was|could never refuse) ([a-z ]+)\\."))
      CHECK(agree(dish, person, match[1]));
    const bool woman = !matches(text, "\\b([Ss]he|[Hh]er)\\b").empty(),
               man = !matches(text, "\\b([Hh]e|[Hh]is|him)\\b").empty();
    CHECK(!(woman && man));
  }
  CHECK(told > 2000);
  CHECK(birth.size() == 40);
}

TEST_CASE("corpus: every sum is right") {
  int sums = 0;
  for (const std::string& text : documents(Domain::arithmetic, 300)) {
    CAPTURE(text);
    std::string last, question;
    for (const std::string& line : lines_of(text)) {
      std::smatch match;
      if (std::regex_search(line, match, std::regex("(\\d+) ([-+x]) (\\d+)( \\+ 1)? = (\\d+)"))) {
        const int a = std::stoi(match[1]), b = std::stoi(match[3]);
        const int result = (match[2] == "+" ? a + b : match[2] == "-" ? a - b : a * b) + match[4].matched;
        CHECK(result == std::stoi(match[5]));
        last = match[5];
        ++sums;
      } else if (std::regex_match(line, match, std::regex("(Sum|Product|Difference|Quotient|Answer): (\\d+)(.*)"))) {
        const auto numbers = matches(question, "\\d+");
        const int a = std::stoi(numbers[0].str()), b = std::stoi(numbers[1].str()), answer = std::stoi(match[2]);
        if (match[1] == "Sum") CHECK(answer == a + b);
        if (match[1] == "Product") CHECK(answer == a * b);
        if (match[1] == "Difference") CHECK(answer == std::abs(a - b));
        if (match[1] == "Answer") CHECK(match[2] == last);
        if (match[1] == "Quotient") {
          CHECK(answer == std::max(a, b) / std::min(a, b));
          CHECK(match[3] == ", remainder " + std::to_string(std::max(a, b) % std::min(a, b)));
        }
      } else if (matches(line, "\\d").size() >= 2) {
        question = line;
      }
    }
  }
  CHECK(sums > 1500);
}

TEST_CASE("corpus: programs print what they say") {
  for (const std::string& text : documents(Domain::programs, 500)) {
    CAPTURE(text);
    const size_t output = text.find("output:\n");
    REQUIRE(output != std::string::npos);
    Interpreter interpreter{.lines = lines_of(text.substr(0, output)), .values = {}, .output = {}};
    interpreter.run();
    CHECK(interpreter.output == text.substr(output + 8));
    CHECK(!interpreter.output.empty());
  }
}

TEST_CASE("corpus: recipes are in proportion and use what they list") {
  std::map<std::string, int> for_two;  // of each dish and ingredient
  for (const std::string& text : documents(Domain::recipes, 400)) {
    CAPTURE(text);
    const auto lines = lines_of(text);
    std::smatch title;
    REQUIRE(std::regex_search(lines[0], title, std::regex("(\\w+) with .*for (\\d)")));
    const int people = std::stoi(title[2]);
    const std::string steps = text.substr(lines[0].size() + lines[1].size() + 2);
    const auto items = matches(lines[1], "(\\d+) ((?:g|ml|spoons of) )?(\\w+)");
    CHECK(items.size() == 5);
    for (const auto& item : items) {
      CHECK(count_of(steps, " the " + item[3].str()) >= 1);
      const int amount = std::stoi(item[1]) * 2;
      CHECK(amount % people == 0);
      if (!item[2].matched) continue;
      const auto [known, fresh] = for_two.try_emplace(title[1].str() + item[3].str(), amount / people);
      CHECK(known->second == amount / people);
    }
  }
  CHECK(for_two.size() > 60);
}

TEST_CASE("corpus: timetables are regular, and their remarks follow from them") {
  for (const std::string& text : documents(Domain::timetables, 400)) {
    CAPTURE(text);
    std::smatch every, miss;
    REQUIRE(std::regex_search(text, every, std::regex("very (\\d+) minutes")));
    const int interval = std::stoi(every[1]);
    std::vector<std::string> stops;
    std::vector<std::vector<int>> table;
    for (const std::string& line : lines_of(text)) {
      std::smatch row;
      if (!std::regex_match(line, row, std::regex("([A-Z][A-Za-z ]+?)((?: \\d\\d:\\d\\d)+)"))) continue;
      stops.push_back(row[1]);
      table.emplace_back();
      const std::string times = row[2];
      for (const auto& time : matches(times, "\\d\\d:\\d\\d")) table.back().push_back(minutes(time.str()));
    }
    REQUIRE(table.size() >= 3);
    for (size_t row = 0; row < table.size(); ++row) {
      REQUIRE(table[row].size() == table[0].size());
      for (size_t run = 0; run + 1 < table[row].size(); ++run)
        CHECK((table[row][run + 1] - table[row][run] + 1440) % 1440 == interval);
      if (row > 0) CHECK((table[row][0] - table[row - 1][0] + 1440) % 1440 <= 15);
    }
    CHECK(std::set<std::string>(stops.begin(), stops.end()).size() == stops.size());
    const auto total = matches(text, "(?:takes|in) (\\d+) minutes\\.");
    for (const auto& match : total) CHECK(std::stoi(match[1]) == (table.back()[0] - table[0][0] + 1440) % 1440);
    for (const auto& match : matches(text, "[Ll]ast .*(\\d\\d:\\d\\d)")) CHECK(minutes(match[1]) == table[0].back());
    for (const auto& match : matches(text, "[Tt]he first .*(\\d\\d:\\d\\d)"))
      CHECK(minutes(match[1]) == table.back()[0]);
    if (std::regex_search(
            text, miss, std::regex("at ([A-Z][A-Za-z ]+) at (\\d\\d:\\d\\d), the next one comes at (\\d\\d:\\d\\d)"))) {
      CHECK((minutes(miss[3]) - minutes(miss[2]) + 1440) % 1440 == interval);
      CHECK(std::find(stops.begin(), stops.end(), miss[1].str()) != stops.end());
    }
  }
}

TEST_CASE("corpus: games are played by the rules") {
  int draws = 0, wins = 0, nims = 0;
  for (const std::string& text : documents(Domain::games, 500)) {
    CAPTURE(text);
    const auto lines = lines_of(text);
    const std::string result = lines.back();
    const auto names = matches(lines[0], "\\b(Ada|Ben|Cleo|Dan|Eva|Finn|Gus|Ida|Jon|Kim|Lea|Max)\\b");
    REQUIRE(names.size() == 2);
    if (text.find("Nim") != std::string::npos) {
      ++nims;
      check_nim(text, lines[0], result, {names[0].str(), names[1].str()});
      continue;
    }
    std::string board(9, '.');  // rows from above
    int moves = 0;
    for (size_t i = 1; i < lines.size() - 1; ++i) {
      std::smatch match;
      if (!std::regex_match(lines[i], match, std::regex("(?:\\d\\. )?(\\w+)(?:| to| plays|:) ([abc])([123])(, .*)?")))
        continue;
      const bool crosses = moves++ % 2 == 0;
      CHECK((match[1] == names[crosses ? 0 : 1].str() || match[1] == (crosses ? "X" : "O")));
      char& square = board[(3 - std::stoi(match[3])) * 3 + (match[2].str()[0] - 'a')];
      CHECK(square == '.');
      square = crosses ? 'X' : 'O';
    }
    std::string drawn;
    for (size_t i = lines.size() - 4; i < lines.size() - 1; ++i) {
      for (char c : lines[i]) drawn += c == ' ' ? "" : std::string(1, c);
    }
    CHECK(drawn == board);
    const auto has_line = [&](char side) {
      const std::string three(3, side);
      for (const char* line : {"012", "345", "678", "036", "147", "258", "048", "246"}) {
        if (std::string{board[line[0] - '0'], board[line[1] - '0'], board[line[2] - '0']} == three) return true;
      }
      return false;
    };
    const bool drawn_game = count_of(result, "win") == 0 || result == "Nobody wins.";
    CHECK(drawn_game == (!has_line('X') && !has_line('O')));
    CHECK((!drawn_game || moves == 9));
    if (!drawn_game) CHECK(count_of(result, names[(moves - 1) % 2].str()) == 1);
    (drawn_game ? draws : wins) += 1;
  }
  CHECK(draws > 20);
  CHECK(wins > 20);
  CHECK(nims > 100);
}

TEST_CASE("corpus: letters keep to one dictionary") {
  std::map<std::string, std::string> meaning, word;
  for (const std::string& text : documents(Domain::letters, 400)) {
    CAPTURE(text);
    const auto lines = lines_of(text);
    REQUIRE(lines.size() == 5);
    CHECK(lines[0].substr(lines[0].find(' ')) != " " + lines[3] + ",");  // nobody writes to himself
    const auto entries = matches(lines[4], "([^ ,]+) = ((?:to )?[a-z]+)");
    CHECK(entries.size() >= 2);
    for (const auto& entry : entries) {
      CHECK(meaning.try_emplace(entry[1], entry[2]).first->second == entry[2]);
      CHECK(word.try_emplace(entry[2], entry[1]).first->second == entry[1]);
      CHECK(count_of(" " + lines[1], " " + entry[1].str()) >= 1);  // it was used, perhaps with an ending
    }
  }
  CHECK(meaning.size() > 50);
  CHECK(meaning.size() == word.size());
}
