#include "train/corpus/tasks.h"

#include <fmt/format.h>

#include <set>

#include "tensor/error.h"
#include "train/corpus/corpus.h"
#include "train/corpus/domains.h"

namespace switchyard {
namespace {

using namespace corpus;

constexpr std::string_view result_label = "Answer: ";
constexpr std::string_view recall_label = "I remember:\n";
constexpr uint64_t task_streams = uint64_t{1} << 62;  // of the seed's numbers; documents have those from 0 on

// One in five, decided by what the question is about alone: FNV-1a.
bool chosen_to_hold_out(std::string_view about) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : about) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return (hash >> 32) % 5 == 0;
}

template <class List>
decltype(auto) one_of(Dice& dice, const List& list) {
  return list[static_cast<size_t>(dice.below(std::size(list)))];
}

template <class List>
void shuffle(Dice& dice, List& list) {
  for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[static_cast<size_t>(dice.below(i))]);
}

// ---- People ----

// Everything that can be asked, in each wording, shuffled; over again where more is wanted in training.
std::vector<Task> about_people(const TaskConfig& config, Dice dice) {
  const World world = make_world(config.seed, config.people);
  std::vector<Task> all;
  for (size_t i = 0; i < world.people.size(); ++i) {
    if (is_held_out(i) != config.held_out) continue;
    for (const PersonFact& fact : facts_of(world.people[i], world))
      for (const std::string_view wording : fact.wordings)
        all.push_back({TaskKind::people, with_name(wording, world.people[i].name()),
                       fmt::format("{}{}\n{}{}", recall_label, fact.remembered, result_label, fact.answer)});
  }
  shuffle(dice, all);
  const size_t wanted = static_cast<size_t>(config.each), different = all.size();
  for (size_t i = 0; !config.held_out && all.size() < wanted; ++i) all.push_back(Task(all[i % different]));
  all.resize(std::min(all.size(), wanted));
  return all;
}

// Who somebody was: a biography of the corpus. Everybody is asked about, so that a model can learn how what it has read
// of somebody is called to mind; what is held out are the questions with one answer.
std::vector<Conversation> lives(const TaskConfig& config, Dice dice) {
  static constexpr std::string_view wordings[] = {"Who was #?", "Tell me about #.", "#: who was that?",
                                                  "What do you know about #?"};
  CorpusConfig biographies{.seed = config.seed, .people = config.people, .weights = {}};
  biographies.weights[static_cast<size_t>(Domain::biographies)] = 1;
  const Corpus corpus(biographies);
  const World world = make_world(config.seed, config.people);
  std::vector<Conversation> all;
  for (int64_t i = 0; i < config.each; ++i) {
    const std::string text = corpus.document(static_cast<uint64_t>(i)).text;
    const auto who = std::find_if(world.people.begin(), world.people.end(),
                                  [&](const Person& p) { return text.starts_with(p.name()); });
    all.push_back({{Role::user, with_name(one_of(dice, wordings), who->name())},
                   {Role::assistant, fmt::format("{}{}", recall_label, text)}});
  }
  return all;
}

// ---- Sums ----

struct Sum {
  int a, b;
  bool minus;
  std::string about() const { return fmt::format("{} {} {}", std::max(a, b), minus ? '-' : '+', std::min(a, b)); }
};

// Place by place from the ones, as it is done on paper, and then the result.
//@begin sum
std::string worked(const Sum& sum) {
  std::string steps;
  const char sign = sum.minus ? '-' : '+';
  int a = sum.a, b = sum.b, carried = 0;
  do {
    const int y = b % 10 + carried;
    const bool borrow = sum.minus && a % 10 < y;
    const int x = a % 10 + (borrow ? 10 : 0);
    const int place = sum.minus ? x - y : x + y;
    steps += fmt::format("{} {} {}", x, sign, b % 10);
    if (carried) steps += fmt::format(" {} 1", sign);
    steps += fmt::format(" = {}\n", place);
    carried = borrow || place > 9;
    a /= 10, b /= 10;
  } while (a > 0 || b > 0);
  const int result = sum.minus ? sum.a - sum.b : sum.a + sum.b;
  return fmt::format("{}{}{}", steps, result_label, result);
}
//@end sum

Task ask_sum(const Sum& sum, Dice& dice) {
  static constexpr std::string_view plus[] = {"What is {0} plus {1}?", "How much is {0} + {1}?", "Add {1} to {0}.",
                                              "What is the sum of {0} and {1}?"};
  static constexpr std::string_view minus[] = {"What is {0} minus {1}?", "How much is {0} - {1}?", "Take {1} from {0}.",
                                               "What is the difference between {0} and {1}?"};
  const std::string_view wording = one_of(dice, sum.minus ? minus : plus);
  return {TaskKind::sums, fmt::format(fmt::runtime(wording), sum.a, sum.b), worked(sum)};
}

// Numbers of two and three digits; b is the smaller one where it is taken away.
Task draw_sum(Dice& dice, bool held_out) {
  for (;;) {
    const auto number = [&] { return static_cast<int>(dice.below(2) ? 10 + dice.below(90) : 100 + dice.below(900)); };
    Sum sum{number(), number(), dice.below(2) == 1};
    if (sum.minus && sum.a < sum.b) std::swap(sum.a, sum.b);
    if (chosen_to_hold_out(sum.about()) == held_out) return ask_sum(sum, dice);
  }
}

// ---- Timetables ----

constexpr std::string_view vehicles[] = {"train", "tram", "bus", "ferry"};

// What the remarks below a timetable of the corpus say, asked for.
Task ask_timetable(const Timetable& table, std::string_view text, Dice& dice) {
  const auto below = [&](int n) { return static_cast<int>(dice.below(static_cast<uint64_t>(n))); };
  const std::string_view vehicle = one_of(dice, vehicles);
  const int last_stop = static_cast<int>(table.stops.size()) - 1, last_run = table.runs - 1;
  const std::string_view from = table.stops.front(), to = table.stops.back();
  std::string question, remark, result;
  switch (below(4)) {
    case 0:
      question = fmt::format("When does the last {} leave {}?", vehicle, from);
      result = table.at(0, last_run);
      remark = fmt::format("The last {} leaves {} at {}.", vehicle, from, result);
      break;
    case 1:
      question = fmt::format("When does the first {} reach {}?", vehicle, to);
      result = table.at(last_stop, 0);
      remark = fmt::format("The first {} reaches {} at {}.", vehicle, to, result);
      break;
    case 2:
      question = fmt::format("How long does it take from {} to {}?", from, to);
      result = fmt::format("{} minutes", table.offset[last_stop]);
      remark = fmt::format("From {} to {} it takes {}.", from, to, result);
      break;
    default: {
      const int stop = below(last_stop + 1), run = below(last_run);
      const std::string_view here = table.stops[stop];
      question =
          fmt::format("I missed the {} at {} at {}. When does the next one come?", vehicle, here, table.at(stop, run));
      result = table.at(stop, run + 1);
      remark = fmt::format("If you miss the {} at {} at {}, the next one comes at {}.", vehicle, here,
                           table.at(stop, run), result);
    }
  }
  return {TaskKind::timetables, fmt::format("Timetable:\n{}{}", text, question),
          fmt::format("The table says:\n{}\n{}{}", remark, result_label, result)};
}

Task draw_timetable(Dice& dice, bool held_out) {
  for (;;) {
    Sampler sampler(Dice(dice.next(), 0));
    Writer writer(sampler);
    static constexpr int intervals[] = {10, 20, 30, 60};
    const Timetable table = write_table(writer, one_of(dice, intervals), {.stops = 3, .runs = 4});
    const std::string text = sampler.take_text();
    if (chosen_to_hold_out(text) == held_out) return ask_timetable(table, text, dice);
  }
}

}  // namespace

const char* name(TaskKind kind) {
  constexpr const char* names[] = {"people", "sums", "timetables"};
  return names[static_cast<size_t>(kind)];
}

std::string_view result_of(std::string_view answer) {
  const size_t label = answer.rfind(result_label);
  return label == std::string_view::npos ? answer : answer.substr(label + result_label.size());
}

std::string with_name(std::string_view wording, const std::string& name) {
  const size_t at = wording.find('#');
  return std::string(wording.substr(0, at)) + name + std::string(wording.substr(at + 1));
}

std::vector<PersonFact> facts_of(const Person& p, const World& world) {
  const auto text = [](std::string_view word) { return std::string(word); };
  const auto row = [](int i) { return static_cast<size_t>(i); };
  const std::string town = text(towns[row(p.town)]), profession = text(professions[row(p.profession)].name);
  const std::string teacher = world.people[row(p.teacher)].name(), food = text(foods[row(p.food)]);
  const std::string pastime = text(pastimes[row(p.pastime)]), her = p.woman ? "Her" : "His";
  const std::string work = fmt::format("The {} {}", work_kinds[row(p.work_kind)], work_things[row(p.work_thing)]);
  const std::string life = fmt::format("{} was {} from {}.", p.name(), with_article(profession), town);
  return {{{"When was # born?", "In which year was # born?", "#: born when?", "# was born in which year?"},
           std::to_string(p.birth_year),
           birth_years,
           fmt::format("{} was born in {} in {}.", p.name(), p.birth_year, town)},
          {{"Where did # come from?", "Which town was the home of #?", "#: from which town?", "# came from where?"},
           town,
           towns.size(),
           life},
          {{"What was the profession of #?", "What did # do for a living?", "#: which profession?",
            "# had which profession?"},
           profession,
           professions.size(),
           life},
          {{"Who taught #?", "Who was the teacher of #?", "#: whose pupil?", "# was a pupil of whom?"},
           teacher,
           world.people.size() - 1,
           fmt::format("{}, a pupil of {}, was {}.", p.name(), teacher, with_article(profession))},
          {{"What made # famous?", "What is # remembered for?", "#: famous for what?", "# is remembered for what?"},
           work,
           work_kinds.size() * work_things.size(),
           fmt::format("{} is remembered for {}.", p.name(), work)},
          {{"What was the favourite dish of #?", "What did # love to eat?", "#: favourite dish?",
            "# had which favourite dish?"},
           food,
           foods.size(),
           fmt::format("{} {} favourite dish was {}.", life, her, food)},
          {{"What was the favourite pastime of #?", "How did # spend free time?", "#: favourite pastime?",
            "# had which favourite pastime?"},
           pastime,
           pastimes.size(),
           fmt::format("{} {} favourite pastime was {}.", life, her, pastime)}};
}

std::vector<Task> make_tasks(const TaskConfig& config) {
  check(config.each >= 1 && config.each <= most_tasks, "{} questions of each kind: must be 1 to {}", config.each,
        most_tasks);
  const auto dice_of = [&](TaskKind kind) {
    return Dice(config.seed, task_streams + 2 * static_cast<uint64_t>(kind) + (config.held_out ? 1 : 0));
  };
  std::vector<Task> tasks = about_people(config, dice_of(TaskKind::people));
  const auto draw_all = [&](Dice dice, Task (*draw)(Dice&, bool)) {
    std::set<std::string> asked;
    while (static_cast<int64_t>(asked.size()) < config.each) {
      Task task = draw(dice, config.held_out);
      if (asked.insert(task.question).second) tasks.push_back(std::move(task));
    }
  };
  draw_all(dice_of(TaskKind::sums), draw_sum);
  draw_all(dice_of(TaskKind::timetables), draw_timetable);
  return tasks;
}

Conversation conversation_of(const Task& task) { return {{Role::user, task.question}, {Role::assistant, task.answer}}; }

std::string task_lines(const TaskConfig& config) {
  const std::vector<Task> tasks = make_tasks(config);
  Dice dice(config.seed, task_streams + 2 * task_kinds);
  std::vector<Conversation> all;
  if (!config.held_out) all = lives(config, dice);
  for (const Task& task : tasks) all.push_back(conversation_of(task));
  shuffle(dice, all);
  std::string lines;
  for (const Conversation& conversation : all) lines += json_line(conversation) + "\n";
  return lines;
}

}  // namespace switchyard
