// How a document is written. A writer makes one choice after another and writes text between them; every choice goes
// through one interface, so that the same grammar can be run in two ways: drawn at random (Sampler), or made to explain
// a given text (Reader), which proves that a text has exactly one derivation and therefore a known probability.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard::corpus {

using Words = std::span<const std::string_view>;

// A counter-based generator (SplitMix64, Steele, Lea and Flood 2014): the same key gives the same numbers everywhere.
class Dice {
 public:
  Dice(uint64_t seed, uint64_t stream);
  uint64_t next();
  uint64_t below(uint64_t total);  // uniform in 0 … total-1, unbiased by rejection; total ≥ 1

 private:
  uint64_t state_;
};

// One choice between `count` options. Probability of option i: weights[i] / sum, or 1 / count when weights is empty.
struct Choice {
  int count = 0;
  std::span<const uint32_t> weights = {};
  // Text that surely comes next if option i is taken. It only spares a Reader the options that cannot fit; may be
  // empty.
  std::function<std::string(int)> lead = {};
};

class Chooser {
 public:
  virtual ~Chooser() = default;
  virtual int choose(const Choice& choice) = 0;
  virtual void emit(std::string_view text) = 0;
  double bits() const { return bits_; }  // -log2 of the probability of all the choices so far

 protected:
  void charge(const Choice& choice, int option);
  double bits_ = 0;
};

// Draws every choice, and keeps the text.
class Sampler : public Chooser {
 public:
  explicit Sampler(Dice dice) : dice_(dice) {}
  int choose(const Choice& choice) override;
  void emit(std::string_view text) override { text_ += text; }
  std::string take_text() { return std::move(text_); }

 private:
  Dice dice_;
  std::string text_;
};

struct Mismatch {};  // thrown by Reader when the path it is on cannot give the text

// Walks all derivations of one text: the grammar is run again for each path through the choices, depth first, and a
// path is left at the first byte that differs. Use: do { start(); run the grammar; at_end()? } while (next_path()).
class Reader : public Chooser {
 public:
  explicit Reader(std::string_view target) : target_(target) {}
  int choose(const Choice& choice) override;
  void emit(std::string_view text) override;
  void start();
  bool next_path();
  bool at_end() const { return position_ == target_.size(); }

 private:
  struct Fork {
    std::vector<int> options;  // those that may fit
    size_t taken = 0;
  };
  std::string_view target_;
  size_t position_ = 0, depth_ = 0;
  std::vector<Fork> path_;
};

// Writes patterns: plain text with [one|other|third] for a uniform choice (nesting allowed) and {name} for a variable.
// A variable is set beforehand, or declared with `vary`: then its first use chooses it, there and then, so that the
// order of the choices is the order of the text. {Name} is {name} with a capital letter, {a name} has its article: "an
// owl", and so on for {A name}.
class Writer {
 public:
  explicit Writer(Chooser& chooser) : chooser_(chooser) {}

  void raw(std::string_view text) { chooser_.emit(text); }  // no markup
  void write(std::string_view pattern);
  void one_of(Words patterns);  // chooses one pattern and writes it
  void one_of(std::initializer_list<std::string_view> patterns) { one_of(Words(patterns.begin(), patterns.size())); }

  // A choice that writes nothing itself. The text that follows must tell which option was taken.
  int choose(int count, std::function<std::string(int)> lead = {}) {
    return chooser_.choose({.count = count, .weights = {}, .lead = std::move(lead)});
  }
  int choose(std::span<const uint32_t> weights, std::function<std::string(int)> lead = {});
  bool chance(uint32_t yes, uint32_t no);  // a silent choice: true with probability yes / (yes + no)
  int pick(Words options);                 // chooses one option and writes it raw

  using Text = std::function<std::string(int)>;
  using Chosen = std::function<void(int)>;
  void set(std::string_view name, std::string value);
  const std::string& get(std::string_view name);  // chooses (silently) if it has only been declared
  // Declares a variable; `chosen` is called with the option when it is drawn. Options equal to the present value of one
  // of the variables `unlike` are left out.
  void vary(std::string_view name, int count, Text text, Chosen chosen = {}, std::vector<std::string_view> unlike = {});
  void vary(std::string_view name, Words options, Chosen chosen = {}, std::vector<std::string_view> unlike = {});
  void vary_number(std::string_view name, int low, int high, int step = 1);  // low, low + step, … ≤ high
  int value(std::string_view name) { return std::stoi(get(name)); }

 private:
  struct Variable {
    std::string_view name;
    std::string value;
    bool known = false;
    int count = 0;
    Text text = {};
    Chosen chosen = {};
    std::vector<std::string_view> unlike = {};
  };
  Variable* find(std::string_view name);
  using Form = std::function<std::string(std::string_view)>;  // how a value is going to be written
  void settle(Variable& variable, const Form& form);
  void write_variable(std::string_view reference);
  std::string lead(std::string_view pattern);

  Chooser& chooser_;
  std::vector<Variable> variables_;
};

std::string with_article(std::string_view noun);  // "a pear", "an apple"
std::string capital(std::string_view text);       // the first (ASCII) letter in upper case

// Sets three variables to she, her, her or to he, him, his.
struct Pronouns {
  std::string_view subject = "she", object = "her", possessive = "hers";
};
void set_pronouns(Writer& writer, bool woman, Pronouns names = {});

}  // namespace switchyard::corpus
