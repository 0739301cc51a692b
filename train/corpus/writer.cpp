#include "train/corpus/writer.h"

#include <array>
#include <cctype>
#include <cmath>

#include "tensor/error.h"

namespace switchyard::corpus {

namespace {

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
constexpr uint64_t golden = 0x9e3779b97f4a7c15ull;  // 2^64 / golden ratio, the increment of SplitMix64

uint64_t total_weight(const Choice& choice) {
  if (choice.weights.empty()) return static_cast<uint64_t>(choice.count);
  uint64_t total = 0;
  for (uint32_t weight : choice.weights) total += weight;
  return total;
}

uint64_t weight_of(const Choice& choice, int option) { return choice.weights.empty() ? 1 : choice.weights[option]; }

// The options of "[a|b|c]", without the brackets; the bars inside nested brackets do not count.
std::vector<std::string_view> split_options(std::string_view inside) {
  std::vector<std::string_view> options;
  size_t begin = 0, nesting = 0;
  for (size_t i = 0; i <= inside.size(); ++i) {
    if (i == inside.size() || (inside[i] == '|' && nesting == 0)) {
      options.push_back(inside.substr(begin, i - begin));
      begin = i + 1;
    } else if (inside[i] == '[') {
      ++nesting;
    } else if (inside[i] == ']') {
      --nesting;
    }
  }
  return options;
}

size_t closing_bracket(std::string_view pattern, size_t open) {
  size_t nesting = 0;
  for (size_t i = open; i < pattern.size(); ++i) {
    if (pattern[i] == '[') ++nesting;
    if (pattern[i] == ']' && --nesting == 0) return i;
  }
  fail("corpus pattern \"{}\": a [ is not closed", pattern);
}

}  // namespace

Dice::Dice(uint64_t seed, uint64_t stream) : state_(mix(mix(seed + golden) + stream * golden)) {}

uint64_t Dice::next() { return mix(state_ += golden); }

uint64_t Dice::below(uint64_t total) {
  const uint64_t surplus = (0 - total) % total;  // 2^64 mod total: so many values would be hit once too often
  uint64_t draw = next();
  while (draw < surplus) draw = next();
  return draw % total;
}

void Chooser::charge(const Choice& choice, int option) {
  bits_ +=
      std::log2(static_cast<double>(total_weight(choice))) - std::log2(static_cast<double>(weight_of(choice, option)));
}

int Sampler::choose(const Choice& choice) {
  //@begin draw
  uint64_t draw = dice_.below(total_weight(choice));
  int option = 0;
  if (choice.weights.empty()) {
    option = static_cast<int>(draw);
  } else {
    while (draw >= choice.weights[option]) draw -= choice.weights[option++];
  }
  charge(choice, option);
  //@end draw
  return option;
}

int Reader::choose(const Choice& choice) {
  if (depth_ == path_.size()) {
    Fork fork;
    const std::string_view rest = target_.substr(position_);
    for (int i = 0; i < choice.count; ++i) {
      if (weight_of(choice, i) > 0 && (!choice.lead || rest.starts_with(choice.lead(i)))) fork.options.push_back(i);
    }
    if (fork.options.empty()) throw Mismatch();
    path_.push_back(std::move(fork));
  }
  const Fork& fork = path_[depth_++];
  charge(choice, fork.options[fork.taken]);
  return fork.options[fork.taken];
}

//@begin read
void Reader::emit(std::string_view text) {
  if (!target_.substr(position_).starts_with(text)) throw Mismatch();
  position_ += text.size();
}
//@end read

void Reader::start() {
  position_ = depth_ = 0;
  bits_ = 0;
}

bool Reader::next_path() {
  while (!path_.empty() && ++path_.back().taken == path_.back().options.size()) path_.pop_back();
  return !path_.empty();
}

void Writer::write(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size();) {
    const size_t markup = std::min(pattern.find_first_of("[{", at), pattern.size());
    if (markup > at) raw(pattern.substr(at, markup - at));
    if (markup == pattern.size()) break;
    const size_t close = pattern[markup] == '[' ? closing_bracket(pattern, markup) : pattern.find('}', markup);
    check(close < pattern.size(), "corpus pattern \"{}\": a {{ is not closed", pattern);
    const std::string_view inside = pattern.substr(markup + 1, close - markup - 1);
    if (pattern[markup] == '[') {
      one_of(split_options(inside));
    } else {
      write_variable(inside);
    }
    at = close + 1;
  }
}

void Writer::one_of(Words patterns) {
  const int option = choose(static_cast<int>(patterns.size()), [&, this](int i) { return lead(patterns[i]); });
  write(patterns[option]);
}

int Writer::choose(std::span<const uint32_t> weights, std::function<std::string(int)> lead) {
  return chooser_.choose({.count = static_cast<int>(weights.size()), .weights = weights, .lead = std::move(lead)});
}

bool Writer::chance(uint32_t yes, uint32_t no) {
  const std::array<uint32_t, 2> weights = {no, yes};
  return choose(weights) == 1;
}

int Writer::pick(Words options) {
  const int option = choose(static_cast<int>(options.size()), [&](int i) { return std::string(options[i]); });
  raw(options[option]);
  return option;
}

Writer::Variable* Writer::find(std::string_view name) {
  for (Variable& variable : variables_) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

void Writer::set(std::string_view name, std::string value) {
  if (Variable* variable = find(name)) {
    *variable = {.name = variable->name, .value = std::move(value), .known = true};
  } else {
    variables_.push_back({.name = name, .value = std::move(value), .known = true});
  }
}

void Writer::vary(std::string_view name, int count, Text text, Chosen chosen, std::vector<std::string_view> unlike) {
  Variable fresh{.name = name,
                 .value = "",
                 .known = false,
                 .count = count,
                 .text = std::move(text),
                 .chosen = std::move(chosen),
                 .unlike = std::move(unlike)};
  if (Variable* variable = find(name)) {
    *variable = std::move(fresh);
  } else {
    variables_.push_back(std::move(fresh));
  }
}

void Writer::vary(std::string_view name, Words options, Chosen chosen, std::vector<std::string_view> unlike) {
  vary(
      name, static_cast<int>(options.size()), [options](int i) { return std::string(options[i]); }, std::move(chosen),
      std::move(unlike));
}

void Writer::vary_number(std::string_view name, int low, int high, int step) {
  vary(name, (high - low) / step + 1, [=](int i) { return std::to_string(low + i * step); });
}

void Writer::settle(Variable& variable, const Form& form) {
  if (variable.known) return;
  std::vector<uint32_t> weights(variable.count, 1);
  for (std::string_view other : variable.unlike) {
    const Variable* taken = find(other);
    for (int i = 0; taken && taken->known && i < variable.count; ++i) {
      if (variable.text(i) == taken->value) weights[i] = 0;
    }
  }
  const int option = choose(weights, [&](int i) { return form ? form(variable.text(i)) : std::string(); });
  variable.value = variable.text(option);
  variable.known = true;
  const Chosen chosen = std::move(variable.chosen);  // it may declare variables, and so move `variable`
  if (chosen) chosen(option);
}

const std::string& Writer::get(std::string_view name) {
  Variable* variable = find(name);
  check(variable != nullptr, "corpus variable \"{}\": never set or declared", name);
  settle(*variable, {});
  return find(name)->value;
}

namespace {

struct Reference {
  std::string name;
  bool article = false, capital = false;

  explicit Reference(std::string_view written) : name(written) {
    capital = std::isupper(static_cast<unsigned char>(name[0]));
    name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
    article = name.starts_with("a ");
    if (article) name.erase(0, 2);
  }
  std::string form(std::string_view value) const {
    const std::string text = article ? with_article(value) : std::string(value);
    return capital ? switchyard::corpus::capital(text) : text;
  }
};

}  // namespace

void Writer::write_variable(std::string_view written) {
  const Reference reference(written);
  Variable* variable = find(reference.name);
  check(variable != nullptr, "corpus variable \"{}\": never set or declared", reference.name);
  settle(*variable, [&](std::string_view value) { return reference.form(value); });
  raw(reference.form(find(reference.name)->value));
}

// The text that a pattern surely begins with: up to its first choice.
std::string Writer::lead(std::string_view pattern) {
  std::string text;
  for (size_t at = 0; at < pattern.size() && pattern[at] != '[';) {
    if (pattern[at] != '{') {
      const size_t end = std::min(pattern.find_first_of("[{", at), pattern.size());
      text += pattern.substr(at, end - at);
      at = end;
      continue;
    }
    const size_t close = pattern.find('}', at);
    const Reference reference(pattern.substr(at + 1, close - at - 1));
    const Variable* variable = find(reference.name);
    if (!variable || !variable->known) break;
    text += reference.form(variable->value);
    at = close + 1;
  }
  return text;
}

std::string with_article(std::string_view noun) {
  return (std::string_view("aeiou").find(noun[0]) != std::string_view::npos ? "an " : "a ") + std::string(noun);
}

std::string capital(std::string_view text) {
  std::string result(text);
  result[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(result[0])));
  return result;
}

void set_pronouns(Writer& writer, bool woman, Pronouns names) {
  writer.set(names.subject, woman ? "she" : "he");
  writer.set(names.object, woman ? "her" : "him");
  writer.set(names.possessive, woman ? "her" : "his");
}

}  // namespace switchyard::corpus
