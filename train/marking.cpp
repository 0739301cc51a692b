#include "train/marking.h"

#include <algorithm>
#include <cmath>

#include "infer/generate.h"

namespace switchyard {

std::array<Marks, task_kinds> mark(Transformer& model, const Tokenizer& tokenizer, const std::vector<Task>& tasks,
                                   const std::function<void(int64_t)>& progress, const std::atomic<bool>* stop) {
  std::array<Marks, task_kinds> marks;
  int64_t asked = 0;
  for (const Task& task : tasks) {
    if (stop && *stop) break;
    GenerateConfig generation{.stop = {}, .sampler = {.temperature = 0}, .cancel = nullptr};
    const size_t length = tokenizer.encode(" " + task.answer).size();
    generation.max_tokens = static_cast<int>(2 * length + 8);  // whoever says more than twice as much is wrong
    //@begin mark
    const std::string prompt = prompt_for(task.question);
    const Generated said = generate(model, tokenizer, prompt, generation);
    const std::string answer = answer_in(said.text);
    const bool ended = said.reason == StopReason::end_token;
    const bool exact = ended && result_of(answer) == result_of(task.answer);
    //@end mark
    Marks& kind = marks[static_cast<size_t>(task.kind)];
    ++kind.asked, kind.exact += exact;
    if (!exact)
      kind.wrong.push_back({task.question, std::string(result_of(task.answer)), std::string(result_of(answer))});
    if (progress) progress(++asked);
  }
  return marks;
}

Marks total(const std::array<Marks, task_kinds>& marks) {
  Marks all;
  for (const Marks& m : marks) all.asked += m.asked, all.exact += m.exact;
  return all;
}

Interval wilson(int64_t exact, int64_t asked) {
  if (asked == 0) return {};
  constexpr double z = 1.959963984540054;  // 95 % of a normal distribution
  const double n = double(asked), p = double(exact) / n, z2 = z * z;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {exact == 0 ? 0 : centre - half, exact == asked ? 1 : centre + half};
}

}  // namespace switchyard
