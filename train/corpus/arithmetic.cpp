// Worked arithmetic: two or three problems, each with the steps that lead to its answer. Only the numbers and the
// wording are chosen; every step follows from them.
#include <fmt/format.h>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

constexpr int girls = 6;  // the names before this row are girls'
constexpr std::string_view pupils[] = {"Anna",  "Carla", "Elsa",  "Gina", "Irene", "Karin",
                                       "Boris", "David", "Frank", "Hans", "Jack",  "Leo"};
constexpr std::string_view things[] = {"apples", "pencils", "buttons", "stamps", "nuts", "cards", "shells", "coins"};

struct Numbers {
  int a, b;
};

// Writes a question about {a} and {b}, chosen from their ranges when the question names them.
Numbers ask(Writer& writer, std::string_view question, Numbers low, Numbers high) {
  writer.vary_number("a", low.a, high.a);
  writer.vary_number("b", low.b, high.b);
  writer.write(question);
  writer.raw("\n");
  return {writer.value("a"), writer.value("b")};
}

// The value of each digit that is not 0, from the left: 305 is 300 and 5.
std::vector<int> parts_of(int number) {
  std::vector<int> parts;
  for (int power : {1000, 100, 10, 1}) {
    if (const int part = number / power % 10 * power) parts.push_back(part);
  }
  return parts;
}

void add(Writer& writer) {
  const auto [a, b] =
      ask(writer, "[Add {a} and {b}.|Find the sum of {a} and {b}.|{a} plus {b}:]", {100, 100}, {9999, 9999});
  static constexpr std::string_view places[] = {"Ones", "Tens", "Hundreds", "Thousands"};
  int carry = 0, power = 1;
  for (int place = 0; power <= std::max(a, b); ++place, power *= 10) {
    const int x = a / power % 10, y = b / power % 10, sum = x + y + carry;
    writer.raw(fmt::format("{}: {} + {}{} = {}", places[place], x, y, carry ? " + 1" : "", sum));
    carry = sum / 10;
    writer.raw(carry ? fmt::format(", write {}, carry 1\n", sum % 10) : "\n");
  }
  if (carry) writer.raw("Write the carry: 1\n");
  writer.raw(fmt::format("Sum: {}\n", a + b));
}

void subtract(Writer& writer) {
  const auto [a, b] =
      ask(writer, "[Take {b} from {a}.|Subtract {b} from {a}.|What is {a} minus {b}?]", {500, 101}, {999, 499});
  int rest = a;
  for (int part : parts_of(b)) {
    writer.raw(fmt::format("{} - {} = {}\n", rest, part, rest - part));
    rest -= part;
  }
  writer.raw(fmt::format("Difference: {}\n", rest));
}

void multiply(Writer& writer) {
  const auto [a, b] =
      ask(writer, "[Multiply {a} by {b}.|What is {a} times {b}?|Find the product of {a} and {b}.]", {12, 3}, {499, 9});
  int product = 0;
  for (int part : parts_of(a)) {
    writer.raw(fmt::format("{} x {} = {}\n", part, b, part * b));
    if (product > 0) writer.raw(fmt::format("{} + {} = {}\n", product, part * b, product + part * b));
    product += part * b;
  }
  writer.raw(fmt::format("Product: {}\n", product));
}

void divide(Writer& writer) {
  const auto [a, b] =
      ask(writer, "[Divide {a} by {b}.|How often does {b} go into {a}?|Share {a} among {b}.]", {20, 3}, {99, 9});
  writer.raw(fmt::format("{} x {} = {}\n{} - {} = {}\n", a / b, b, a / b * b, a, a / b * b, a % b));
  writer.raw(fmt::format("Quotient: {}, remainder {}\n", a / b, a % b));
}

// A word problem: somebody owns some things, and then has more or fewer.
void tell(Writer& writer) {
  struct Event {
    std::string_view pattern;
    int sign;
  };
  static constexpr Event events[] = {
      {" {Other} gives {her} {n} more.", 1},           {" {She} finds {n} [on the way|in a drawer].", 1},
      {" {She} buys {n} at the market.", 1},           {" {She} gives {n} to {other}.", -1},
      {" {She} loses {n} [of them|in the park].", -1}, {" {She} sells {n} [of them|to a friend].", -1}};
  writer.vary("who", pupils, [&](int i) { set_pronouns(writer, i < girls); });
  writer.vary("other", pupils, {}, {"who"});
  writer.vary("things", things);
  writer.vary_number("start", 30, 90);
  writer.one_of({"{Who} has {start} {things}.", "{Who} [begins|starts] with {start} {things}.",
                 "There are {start} {things} in {who}'s box."});
  int now = writer.value("start");
  std::string steps;
  for (int step = 0; step < 3; ++step) {
    if (step == 2 && writer.choose(2) == 0) break;
    writer.vary_number("n", 2, 9);
    const Event& event = events[writer.choose(std::size(events))];
    writer.write(event.pattern);
    const int next = now + event.sign * writer.value("n");
    steps += fmt::format("{} {} {} = {}\n", now, event.sign > 0 ? '+' : '-', writer.value("n"), next);
    now = next;
  }
  writer.write(" How many {things} [does {who} have|are there] now?\n");
  writer.raw(fmt::format("{}Answer: {} {}\n", steps, now, writer.get("things")));
}

}  // namespace

void write_arithmetic(Writer& writer, const World&) {
  static constexpr void (*problems[])(Writer&) = {add, subtract, multiply, divide, tell};
  static constexpr uint32_t weights[] = {1, 1, 1, 1, 2};
  for (int i = 0; i < 3; ++i) {
    if (i == 2 && writer.choose(2) == 0) break;
    if (i > 0) writer.raw("\n");
    problems[writer.choose(weights)](writer);
  }
}

}  // namespace switchyard::corpus
