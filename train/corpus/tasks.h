// Questions with exactly one right answer, so that a program can mark a model: about the people of the built-in corpus,
// sums, and timetables. What is held out shares no person, no sum and no table with what is trained on.
#pragma once
#include "train/conversations.h"
#include "train/corpus/world.h"

namespace switchyard {

enum class TaskKind : uint8_t { people, sums, timetables, count };
constexpr int task_kinds = static_cast<int>(TaskKind::count);
const char* name(TaskKind kind);  // "people", "sums", "timetables"

struct Task {
  TaskKind kind;
  std::string question;
  std::string answer;  // all that is to be said; with the steps that lead to it
};
// What is marked of an answer: what follows its last "Answer: ", or all of it. The steps before it are the model's own
// business.
std::string_view result_of(std::string_view answer);

struct TaskConfig {
  uint64_t seed = 1;  // of the corpus, whose people are asked about, and of the questions
  int people = 200;   // 2 or more, as in CorpusConfig; every fifth is held out
  bool held_out = false;
  int64_t each = 100;  // questions of each kind; 1 to most_tasks
};
constexpr int64_t most_tasks = 100'000;  // of the million and more that there are of each kind but people
// Kind after kind; of each kind, a smaller `each` gives the beginning of what a larger one gives. There are only so
// many questions about people as there are people, facts and wordings; where `each` is more, all of them are asked, and
// in training over again, so that the three kinds weigh the same.
std::vector<Task> make_tasks(const TaskConfig& config);
Conversation conversation_of(const Task& task);
// The same as the lines of a file of conversations, shuffled. Those to train on have as many again in which somebody
// asks who a person was, anyone of the cast, and is told a biography.
std::string task_lines(const TaskConfig& config);

// A fact of a person's life: how one may ask for it ("#" is the name), the answer, among how many it is chosen, and a
// biography of the corpus that tells it early: it begins with the name, which is where a model has learnt the facts.
struct PersonFact {
  std::array<std::string_view, 4> wordings;
  std::string answer;
  size_t choices;
  std::string remembered;
};
std::vector<PersonFact> facts_of(const corpus::Person& person, const corpus::World& world);
std::string with_name(std::string_view wording, const std::string& name);
constexpr bool is_held_out(size_t person) { return person % 5 == 0; }

}  // namespace switchyard
