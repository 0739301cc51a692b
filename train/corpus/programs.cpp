// Small programs in a tiny language, and what they print. The program is chosen; its output follows from it.
#include <fmt/format.h>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

constexpr std::string_view variables[] = {"a", "b", "n", "x", "sum", "total", "count", "y", "i"};
constexpr int counter = static_cast<int>(std::size(variables)) - 1;  // i: known in the body of a "for" only
constexpr std::string_view words[] = {"\"yes\"",  "\"no\"",    "\"big\"",  "\"small\"",
                                      "\"done\"", "\"hello\"", "\"stop\"", "\"again\""};
constexpr int digits = 9;  // the numbers 1 … 9

struct Operand {
  int variable = -1;  // row of `variables`; -1: the number
  int64_t number = 0;
};

// target = left op right; print left op right (target -1); or print word. Without an operation, op is 0.
struct Line {
  int target = -1;
  std::string_view word;
  Operand left, right;
  char op = 0;
};

// Writes a program while it chooses it, and runs each block as soon as that is complete.
class Programmer {
 public:
  explicit Programmer(Writer& writer) : writer_(writer) {}

  void write() {
    declare_two();
    int loops = 0;
    for (int blocks = 0; blocks < 7; ++blocks) {
      // What comes next: assignment, print, if, repeat, for, or the end. At most two loops, so that the output is
      // short.
      const uint32_t loop = loops < 2 ? 2 : 0, end = blocks < 4 ? 0 : 2;
      const std::array<uint32_t, 6> weights = {3, 2, 4, loop, loop, end};
      const int block = writer_.choose(weights);
      if (block == 5) break;
      if (block < 2) run(line(block == 1, false));
      if (block == 2) branch();
      if (block > 2) repeat(block == 4);
      loops += block > 2;
    }
    writer_.raw("print ");
    run(expression(-1, true));
    writer_.raw("output:\n" + output_);
  }

 private:
  void declare_two() {
    for (defined_ = 0; defined_ < 2; ++defined_) {
      writer_.raw(fmt::format("{} = ", variables[defined_]));
      values_[defined_] = writer_.choose(digits, [](int i) { return std::to_string(i + 1); }) + 1;
      writer_.raw(fmt::format("{}\n", values_[defined_]));
    }
  }

  struct Allowed {
    bool numbers = true;
    int except = -1;  // this variable is not
  };
  Operand operand(Allowed allowed) {
    std::array<uint32_t, counter + 1 + digits> weights{};
    for (int v = 0; v <= counter; ++v) weights[v] = v < defined_ || (v == counter && counting_) ? 5 : 0;
    if (allowed.except >= 0) weights[allowed.except] = 0;
    if (allowed.numbers) std::fill(weights.begin() + counter + 1, weights.end(), 1);
    const auto text = [](int i) { return i <= counter ? std::string(variables[i]) : std::to_string(i - counter); };
    const int option = writer_.choose(weights, text);
    writer_.raw(text(option));
    return option <= counter ? Operand{option, 0} : Operand{-1, option - counter};
  }

  // The rest of a line after "print " or "x = ". Products only outside loops and by a small number: values stay short.
  Line expression(int target, bool products) {
    Line line;
    line.target = target;
    line.left = operand({.numbers = target >= 0});
    static constexpr std::string_view ops[] = {"\n", " + ", " - ", " * "};
    const std::array<uint32_t, 4> weights = {target < 0 ? 5u : 1u, 3, 2, products ? 1u : 0u};
    const int op = writer_.choose(weights, [](int i) { return std::string(ops[i]); });
    writer_.raw(ops[op]);
    if (op == 0) return line;
    line.op = ops[op][1];
    if (op == 3) {
      line.right.number = writer_.choose(2, [](int i) { return std::to_string(i + 2); }) + 2;
      writer_.raw(std::to_string(line.right.number));
    } else {
      line.right = operand({.numbers = line.left.variable >= 0, .except = line.left.variable});
    }
    writer_.raw("\n");
    return line;
  }

  // One line. In a body it changes only what is known already, since a body may not run.
  Line line(bool print, bool in_body) {
    if (in_body) writer_.raw("  ");
    if (print) {
      writer_.raw("print ");
      return expression(-1, !in_body);
    }
    const int choices = in_body ? defined_ : std::min(defined_ + 1, counter);  // the old variables, or one more
    const int target = writer_.choose(choices, [](int i) { return std::string(variables[i]) + " = "; });
    writer_.raw(fmt::format("{} = ", variables[target]));
    const Line line = expression(target, !in_body);
    defined_ = std::max(defined_, target + 1);
    return line;
  }

  Line outcome() {  // of an if: a word, or a line
    if (writer_.choose(2, [](int i) { return i ? "  print \"" : ""; }) == 0) return line(writer_.choose(2) == 1, true);
    writer_.raw("  print ");
    Line line;
    line.word = words[writer_.pick(words)];
    writer_.raw("\n");
    return line;
  }

  void branch() {
    writer_.raw("if ");
    const Operand left{writer_.choose(defined_, [](int i) { return std::string(variables[i]) + " "; }), 0};
    writer_.raw(variables[left.variable]);
    static constexpr std::string_view comparisons[] = {" < ", " > ", " == "};
    const int comparison = writer_.pick(comparisons);
    const Operand right = operand({.except = left.variable});
    writer_.raw(":\n");
    const Line then = outcome();
    const bool has_else = writer_.choose(2) == 1;
    if (has_else) writer_.raw("else:\n");
    const Line otherwise = has_else ? outcome() : Line{};
    const int64_t l = value(left), r = value(right);
    const bool holds = comparison == 0 ? l < r : comparison == 1 ? l > r : l == r;
    if (holds) run(then);
    if (!holds && has_else) run(otherwise);
  }

  void repeat(bool with_counter) {
    writer_.raw(with_counter ? "for i from 1 to " : "repeat ");
    const int rounds = writer_.choose(3, [](int i) { return std::to_string(i + 2); }) + 2;
    writer_.raw(fmt::format("{}{}:\n", rounds, with_counter ? "" : " times"));
    counting_ = with_counter;
    std::vector<Line> body{line(false, true)};
    if (writer_.choose(2) == 1) body.push_back(line(true, true));
    for (values_[counter] = 1; values_[counter] <= rounds; ++values_[counter]) {
      for (const Line& line : body) run(line);
    }
    counting_ = false;
  }

  int64_t value(const Operand& operand) const {
    return operand.variable < 0 ? operand.number : values_[operand.variable];
  }

  void run(const Line& line) {
    int64_t result = value(line.left);
    if (line.op == '+') result += value(line.right);
    if (line.op == '-') result -= value(line.right);
    if (line.op == '*') result *= value(line.right);
    if (line.target >= 0) {
      values_[line.target] = result;
    } else if (line.word.empty()) {
      output_ += fmt::format("{}\n", result);
    } else {
      output_ += line.word.substr(1, line.word.size() - 2);
      output_ += '\n';
    }
  }

  Writer& writer_;
  std::array<int64_t, counter + 1> values_{};
  int defined_ = 0;  // the variables of the first rows have a value
  bool counting_ = false;
  std::string output_;
};

}  // namespace

void write_program(Writer& writer, const World&) { Programmer(writer).write(); }

}  // namespace switchyard::corpus
