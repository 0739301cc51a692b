// The built-in questions: each answer against a solver that knows the question's text alone, or the corpus's; what is
// held out; and how answers are marked.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 sees it in <regex> when it builds with sanitizers
#endif
#include <doctest/doctest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tensor/file.h"
#include "tests/moe_models.h"
#include "train/corpus/corpus.h"
#include "train/marking.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

std::vector<Task> of_kind(TaskKind kind, const TaskConfig& config) {
  std::vector<Task> tasks = make_tasks(config);
  std::erase_if(tasks, [&](const Task& t) { return t.kind != kind; });
  return tasks;
}

std::vector<int> numbers_in(const std::string& text) {
  std::vector<int> all;
  const std::regex number("[0-9]+");
  for (std::sregex_iterator i(text.begin(), text.end(), number), end; i != end; ++i) all.push_back(std::stoi(i->str()));
  return all;
}

// What a sum's question asks for: "Take 27 from 536." names the smaller number first.
int solved(const std::string& question) {
  const std::vector<int> n = numbers_in(question);
  REQUIRE(n.size() == 2);
  const bool minus = std::regex_search(question, std::regex("minus| - |Take|difference"));
  if (!minus) return n[0] + n[1];
  return std::abs(n[0] - n[1]);
}

int minutes(const std::string& clock) { return 60 * std::stoi(clock.substr(0, 2)) + std::stoi(clock.substr(3)); }

struct Table {
  std::map<std::string, std::vector<std::string>> times;
  std::string question, text;
};
Table read_table(const std::string& asked) {
  Table table;
  std::istringstream stream(asked);
  const std::regex row("(.+?)((?: [0-9]{2}:[0-9]{2})+)");
  std::smatch match;
  for (std::string line; std::getline(stream, line);) {
    if (!std::regex_match(line, match, row)) {
      table.question = line;
      continue;
    }
    std::istringstream times(match[2]);
    for (std::string time; times >> time;) table.times[match[1]].push_back(time);
    table.text += line + "\n";
  }
  return table;
}

std::string solved(const Table& table) {
  std::smatch m;
  const std::string& q = table.question;
  if (std::regex_match(q, m, std::regex("When does the first \\w+ reach (.+)\\?"))) return table.times.at(m[1]).front();
  if (std::regex_match(q, m, std::regex("When does the last \\w+ leave (.+)\\?"))) return table.times.at(m[1]).back();
  if (std::regex_match(q, m, std::regex("How long does it take from (.+) to (.+)\\?"))) {
    const int ride = minutes(table.times.at(m[2]).front()) - minutes(table.times.at(m[1]).front());
    return fmt::format("{} minutes", (ride + 24 * 60) % (24 * 60));
  }
  REQUIRE(std::regex_match(q, m, std::regex("I missed the \\w+ at (.+) at (.+)\\. When does the next one come\\?")));
  const std::vector<std::string>& times = table.times.at(m[1]);
  const auto missed = std::find(times.begin(), times.end(), m[2].str());
  REQUIRE(times.end() - missed > 1);
  return *(missed + 1);
}

// Who is asked about: the two capitalised words of the cast's names that stand together.
std::string person_in(const std::string& question) {
  std::smatch m;
  REQUIRE(std::regex_search(question, m, std::regex("([A-Z][a-z]+ [A-Z][a-z]+)(?=[^a-z]|$)")));
  std::string name = m[1];
  for (const char* first : {"When was ", "Where did "})
    if (name.starts_with(first)) name = name.substr(std::string(first).size());
  return name;
}

}  // namespace

TEST_SUITE_BEGIN("tasks");

TEST_CASE("sums are right, and so is each of their steps") {
  for (bool held_out : {false, true})
    for (const Task& task : of_kind(TaskKind::sums, {.held_out = held_out, .each = 800})) {
      CAPTURE(task.question);
      CAPTURE(task.answer);
      CHECK(result_of(task.answer) == std::to_string(solved(task.question)));
      std::istringstream lines(task.answer);
      std::string digits;
      for (std::string line; std::getline(lines, line);) {
        if (line.find('=') == std::string::npos) continue;
        const std::vector<int> n = numbers_in(line);  // x, y, perhaps 1, and what comes out
        int value = n[0];
        const int sign = line.find('-') == std::string::npos ? 1 : -1;
        for (size_t i = 1; i + 1 < n.size(); ++i) value += sign * n[i];
        CHECK(value == n.back());
        digits = std::to_string(n.back() % 10) + digits;
      }
      // The steps' last digits are the result's, but for leading zeros and a leading one.
      const std::string result(result_of(task.answer));
      const size_t same = std::min(digits.size(), result.size());
      CHECK(digits.substr(digits.size() - same) == result.substr(result.size() - same));
    }
}

TEST_CASE("timetables: the question alone is enough, and the answer is what its table says") {
  for (bool held_out : {false, true}) {
    std::set<std::string> kinds;
    for (const Task& task : of_kind(TaskKind::timetables, {.held_out = held_out, .each = 800})) {
      CAPTURE(task.question);
      const Table table = read_table(task.question);
      CHECK(table.times.size() == 3);
      CHECK(result_of(task.answer) == solved(table));
      CHECK(task.answer.find(result_of(task.answer)) < task.answer.rfind('\n'));  // the step before says it too
      for (const auto& [stop, times] : table.times)
        if (table.question.find(stop) != std::string::npos) CHECK(task.answer.find(stop) != std::string::npos);
      kinds.insert(table.question.substr(0, 15));
    }
    CHECK(kinds == std::set<std::string>{"When does the f", "When does the l", "I missed the tr", "I missed the bu",
                                         "I missed the fe", "How long does i"});
  }
}

TEST_CASE("people: the answers are what the biographies say") {
  const int people = 30;
  CorpusConfig config{.seed = 5, .people = people, .weights = {}};
  config.weights[static_cast<size_t>(Domain::biographies)] = 1;
  const Corpus corpus(config);
  std::map<std::string, std::string> life;  // all that is written about a person
  for (uint64_t i = 0; i < 3000; ++i) {
    const std::string text = corpus.document(i).text;
    std::smatch m;
    REQUIRE(std::regex_search(text, m, std::regex("^[A-Z][a-z]+ [A-Z][a-z]+")));
    life[m[0]] += text + "\n";
  }
  CHECK(life.size() == people);
  for (bool held_out : {false, true}) {
    const std::vector<Task> tasks =
        of_kind(TaskKind::people, {.seed = 5, .people = people, .held_out = held_out, .each = 100'000});
    std::set<std::string> asked;
    for (const Task& task : tasks) {
      CAPTURE(task.question);
      const auto who = std::find_if(life.begin(), life.end(), [&](const auto& person) {
        return task.question.find(person.first) != std::string::npos;
      });
      REQUIRE(who != life.end());
      CHECK(who->second.find(result_of(task.answer)) != std::string::npos);
      std::istringstream lines(task.answer);
      std::string remembered;
      std::getline(lines, remembered);
      CHECK(remembered == "I remember:");
      std::getline(lines, remembered);
      CHECK(remembered.starts_with(who->first));
      CHECK(remembered.find(result_of(task.answer)) != std::string::npos);
      for (size_t at = 0; at < remembered.size();) {  // sentences of a biography
        const size_t end = std::min(remembered.find(". ", at), remembered.size() - 1) + 1;
        CHECK(who->second.find(remembered.substr(at, end - at)) != std::string::npos);
        at = end + 1;
      }
      asked.insert(task.question);
    }
    CHECK(asked.size() == (held_out ? 6u : 24u) * 7 * 4);
    CHECK(tasks.size() == (held_out ? asked.size() : 100'000));  // trained on over again, marked once
  }
}

TEST_CASE("what is held out shares no person, no sum and no table with what is trained on") {
  std::set<std::string> about[2][task_kinds];
  for (bool held_out : {false, true})
    for (const Task& task : make_tasks({.people = 50, .held_out = held_out, .each = 6000})) {
      std::string what;
      if (task.kind == TaskKind::people) {
        what = person_in(task.question);
      } else if (task.kind == TaskKind::sums) {
        std::vector<int> n = numbers_in(task.question);
        std::sort(n.begin(), n.end());
        const bool minus = std::regex_search(task.question, std::regex("minus| - |Take|difference"));
        what = fmt::format("{} {} {}", n[1], minus ? '-' : '+', n[0]);
      } else {
        what = read_table(task.question).text;
      }
      about[held_out][static_cast<size_t>(task.kind)].insert(what);
    }
  CHECK(about[0][0].size() == 40);
  CHECK(about[1][0].size() == 10);
  for (size_t kind = 0; kind < task_kinds; ++kind) {
    CHECK(about[1][kind].size() > (kind == 0 ? 9 : 1000));
    for (const std::string& what : about[1][kind]) CHECK(!about[0][kind].contains(what));
  }
}

TEST_CASE("the same seed asks the same, another asks otherwise, and fewer are the first of many") {
  const auto questions = [](const TaskConfig& config) {
    std::vector<std::string> all[task_kinds];
    for (const Task& t : make_tasks(config)) all[static_cast<size_t>(t.kind)].push_back(t.question);
    return std::vector(all, all + task_kinds);
  };
  const auto few = questions({.seed = 3, .people = 20, .each = 40}),
             many = questions({.seed = 3, .people = 20, .each = 90});
  const auto other = questions({.seed = 4, .people = 20, .each = 40});
  for (size_t kind = 0; kind < task_kinds; ++kind) {
    CHECK(few[kind].size() == 40);
    CHECK(std::equal(few[kind].begin(), few[kind].end(), many[kind].begin()));
    CHECK(few[kind] != other[kind]);
  }
  CHECK(error_of([] { make_tasks({.each = 0}); }).find("must be 1 to 100000") != std::string::npos);
}

TEST_CASE("as a file, they are conversations, every one once; in training people's lives are told besides") {
  const Scratch dir;
  const CorpusConfig world{.seed = 1, .people = 20};
  for (bool held_out : {false, true}) {
    const TaskConfig config{.people = 20, .held_out = held_out, .each = 50};
    write_file(dir.path / "tasks.jsonl", task_lines(config));
    std::multiset<std::string> written, expected;
    std::set<std::string> told_of;
    each_conversation(dir.path / "tasks.jsonl", [&](const Conversation& c) {
      REQUIRE(c.size() == 2);
      std::smatch who;
      const std::string told = c[1].content.starts_with("I remember:\n") ? c[1].content.substr(12) : "";
      if (told.empty() || told.find("\nAnswer: ") != std::string::npos) {
        written.insert(c[0].content + "|" + c[1].content);
        return true;
      }
      CHECK(std::isfinite(Corpus(world).score(told).bits));  // the corpus could have written it
      REQUIRE(std::regex_search(c[0].content, who, std::regex("[A-Z][a-z]+ [A-Z][a-z]+(?=[:.?])")));
      CHECK(told.starts_with(who[0].str().substr(0, 60)));
      told_of.insert(who[0]);
      return true;
    });
    for (const Task& t : make_tasks(config)) expected.insert(t.question + "|" + t.answer);
    CHECK(written == expected);
    // Fifty biographies of twenty people, those held out among them; none where the questions are those held out.
    CHECK(told_of.size() >= (held_out ? 0 : 15));
    CHECK(told_of.size() <= (held_out ? 0 : 20));
  }
}

TEST_CASE("marks: what follows the last label counts, to the letter, and only if the answer ends") {
  CHECK(result_of("7 + 5 = 12\nAnswer: 632") == "632");
  CHECK(result_of("Answer: 1\nAnswer: 2") == "2");
  CHECK(result_of("Kestrel") == "Kestrel");
  // A model of one token: whatever it has read, it says the byte 'a' or, rigged otherwise, ends at once.
  const Tokenizer bytes = Tokenizer::bytes();
  ModelConfig config = tiny();
  config.vocab = 257, config.tied = true, config.context = 64;
  const auto asked = [&](int says) {
    Transformer model(config, 1);
    model.visit([&](const std::string& name, Var& p) {
      float* w = p.value().data<float>();
      if (name == "norm.weight") std::fill_n(w, p.value().count(), 0.0f), w[0] = 1;
      if (name == "embedding.weight")
        for (int64_t id = 0; id < 257; ++id) w[id * config.width] = id == says ? 9.0f : 1.0f;
    });
    return mark(model, bytes, {{TaskKind::sums, "1 + 1?", "a"}, {TaskKind::people, "who?", "you"}});
  };
  const auto ends = asked(bytes.end_id()), talks = asked('a');
  for (const auto& marks : {ends, talks}) {
    CHECK(total(marks).asked == 2);
    CHECK(total(marks).exact == 0);
    CHECK(marks[0].wrong.at(0).question == "who?");
    CHECK(marks[0].wrong.at(0).expected == "you");
    CHECK(marks[2].asked == 0);
  }
  CHECK(ends[0].wrong.at(0).said == "");
  CHECK(talks[1].wrong.at(0).said.starts_with("aaaa"));  // it never ends
}

TEST_CASE("Wilson's interval") {
  // Its ends are the shares q with (p - q)^2 = z^2 q (1 - q) / n; for none of ten, that is z^2 / (n + z^2).
  const Interval most = wilson(8, 10), none = wilson(0, 10), all = wilson(10, 10), nothing = wilson(0, 0);
  CHECK(most.low == doctest::Approx(0.4901625).epsilon(1e-6));
  CHECK(most.high == doctest::Approx(0.9433178).epsilon(1e-6));
  CHECK(none.low == 0);
  CHECK(none.high == doctest::Approx(3.841459 / 13.841459).epsilon(1e-6));
  CHECK(all.low == doctest::Approx(10 / 13.841459).epsilon(1e-6));
  CHECK(all.high == doctest::Approx(1));
  CHECK(nothing.low == 0);
  CHECK(nothing.high == 1);
}

TEST_SUITE_END();
