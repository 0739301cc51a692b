// A model's answers, marked by comparing them with the right ones.
#pragma once
#include <array>
#include <atomic>

#include "moe/transformer.h"
#include "nn/tokenizer.h"
#include "train/corpus/tasks.h"

namespace switchyard {

struct Wrong {
  std::string question, expected, said;  // the last two: what is marked of an answer, result_of()
};
struct Marks {
  int64_t asked = 0, exact = 0;
  std::vector<Wrong> wrong;
  double share() const { return asked ? double(exact) / double(asked) : 0; }
};

// Asks every task in the template of train/conversations.h, takes the likeliest token each time until <|end|>, and
// marks the answer: exact if its result is the task's to the letter and <|end|> came where it may be expected. By kind.
// `progress` is called after each task; `stop` becomes true: the rest is left unasked.
std::array<Marks, task_kinds> mark(Transformer& model, const Tokenizer& tokenizer, const std::vector<Task>& tasks,
                                   const std::function<void(int64_t asked)>& progress = {},
                                   const std::atomic<bool>* stop = nullptr);
Marks total(const std::array<Marks, task_kinds>& marks);

// The 95 % interval of a share of which `exact` of `asked` were seen (Wilson 1927): 0 to 1 where none was asked.
struct Interval {
  double low = 0, high = 1;
};
Interval wilson(int64_t exact, int64_t asked);

}  // namespace switchyard
