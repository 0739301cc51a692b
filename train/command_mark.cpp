// ./run eval --tasks: how many of the built-in questions a model answers.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "infer/generate.h"
#include "moe/checkpoint.h"
#include "train/command_flags.h"
#include "train/commands.h"
#include "train/conversations.h"
#include "train/marking.h"

namespace switchyard {
namespace {

constexpr size_t examples = 3;  // of wrong answers, by kind

// A question's or an answer's text on one line.
std::string on_a_line(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, 160)) line += c == '\n' ? std::string(" / ") : std::string(1, c);
  return line;
}

void print_row(const char* title, const Marks& m) {
  const Interval i = wilson(m.exact, m.asked);
  fmt::print("{:<12}{:>8}{:>8}{:>9.1f} %   {:.1f} to {:.1f} %\n", title, m.asked, m.exact, 100 * m.share(), 100 * i.low,
             100 * i.high);
}

void print_marks(const std::array<Marks, task_kinds>& marks) {
  fmt::print("{:<12}{:>8}{:>8}{:>11}   95 % interval\n", "questions", "asked", "exact", "share");
  for (int k = 0; k < task_kinds; ++k) print_row(name(static_cast<TaskKind>(k)), marks[static_cast<size_t>(k)]);
  print_row("all", total(marks));
  for (int k = 0; k < task_kinds; ++k) {
    const std::vector<Wrong>& wrong = marks[static_cast<size_t>(k)].wrong;
    if (!wrong.empty()) fmt::print("\nwrong, {}:\n", name(static_cast<TaskKind>(k)));
    for (size_t i = 0; i < std::min(examples, wrong.size()); ++i)
      fmt::print("  {}\n    {}   (right: {})\n", on_a_line(wrong[i].question), on_a_line(wrong[i].said),
                 on_a_line(wrong[i].expected));
  }
}

nlohmann::json as_json(const Marks& m) {
  const Interval i = wilson(m.exact, m.asked);
  nlohmann::json wrong = nlohmann::json::array();
  for (const Wrong& w : m.wrong)
    if (wrong.size() < examples) wrong.push_back({{"question", w.question}, {"right", w.expected}, {"said", w.said}});
  return {{"asked", m.asked},   {"exact", m.exact},     {"percent", 100 * m.share()},
          {"low", 100 * i.low}, {"high", 100 * i.high}, {"wrong", wrong}};
}

// A line on standard error, now and then: what, how far, how fast, how long still.
class Progress {
 public:
  explicit Progress(size_t of) : of_(static_cast<int64_t>(of)) {}
  ~Progress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }
  void operator()(int64_t asked) const {
    if (!terminal_ && asked % 100 != 0) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count(), rate = double(asked) / seconds;
    const auto left = static_cast<int64_t>(double(of_ - asked) / rate);
    fmt::print(stderr, "{}asked {} of {}, {:.1f} a second, {}:{:02} left{}", terminal_ ? "\r\033[K" : "", asked, of_,
               rate, left / 60, left % 60, terminal_ ? "" : "\n");
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  int64_t of_;
  bool terminal_ = ::isatty(2) != 0;
  Clock::time_point start_ = Clock::now();
};

}  // namespace

int run_mark(const EvalCommand& command) {
  Transformer model = load_model(command.model, command.dtype, command.device);
  narrow_weights(model);
  const Tokenizer tokenizer = Tokenizer::load(command.model / "tokenizer.json");
  TaskConfig config{.held_out = !command.trained, .each = command.questions};
  if (fs::exists(command.model / "train.json")) {
    const TrainConfig train = load_run(command.model).train;
    config.seed = train.corpus_seed, config.people = train.people;
  }
  config.seed = command.corpus_seed.value_or(config.seed), config.people = command.people.value_or(config.people);
  const std::vector<Task> tasks = make_tasks(config);
  const auto too_long = std::count_if(tasks.begin(), tasks.end(), [&](const Task& task) {
    return static_cast<int>(tokenizer.encode(prompt_for(task.question)).size()) >= model.config().context;
  });
  if (too_long > 0)
    fmt::print(stderr, "{} of {} questions are longer than the model's context of {} tokens; it will not answer them\n",
               too_long, tasks.size(), model.config().context);
  const std::atomic<bool>& stop = interruptible();
  std::array<Marks, task_kinds> marks;
  {
    const Progress progress(tasks.size());
    marks = mark(model, tokenizer, tasks, std::cref(progress), &stop);
  }
  if (stop) fmt::print(stderr, "stopped after {} of {} questions\n", total(marks).asked, tasks.size());
  if (command.json) {
    nlohmann::json json{{"held_out", config.held_out}, {"all", as_json(total(marks))}};
    json["all"].erase("wrong");
    for (int k = 0; k < task_kinds; ++k) json[name(static_cast<TaskKind>(k))] = as_json(marks[static_cast<size_t>(k)]);
    fmt::print("{}\n", json.dump());
  } else {
    fmt::print(
        "{} questions that {}\n", tasks.size(),
        config.held_out ? "were held out: other people, other sums, other tables" : "finetune --tasks trains on");
    print_marks(marks);
  }
  return stop ? 130 : 0;
}

}  // namespace switchyard
