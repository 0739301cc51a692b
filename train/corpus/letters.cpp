// Letters in the invented language of the world. Its grammar: [not] verb, subject, object; "the" before every noun,
// its adjective after it; the plural of both ends in -i; verbs have a past in -ve and a future in -lo. Capitals are for
// names only. Some of the words are explained in English below the letter.
#include <algorithm>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

class LetterWriter {
 public:
  LetterWriter(Writer& writer, const Language& language) : writer_(writer), language_(language) {}

  void write() {
    const auto& names = language_.names;
    const auto name = [&](int i) { return names[i]; };
    writer_.raw(language_.dear + " ");
    const int to = writer_.choose(static_cast<int>(names.size()), name);
    writer_.raw(names[to] + ",\n");
    for (int i = 0; i < 6; ++i) {
      if (i >= 3 && writer_.chance(1, 2)) break;
      if (i > 0) writer_.raw(" ");
      sentence();
    }
    writer_.raw("\n" + language_.farewell + ",\n");
    std::vector<uint32_t> others(names.size(), 1);
    others[to] = 0;
    writer_.raw(names[writer_.choose(others, name)] + "\n");
    glossary();
  }

 private:
  void word(const std::vector<Entry>& entries) {
    const int option = writer_.choose(static_cast<int>(entries.size()), [&](int i) { return entries[i].stem; });
    writer_.raw(entries[option].stem);
    if (std::find(used_.begin(), used_.end(), &entries[option]) == used_.end()) used_.push_back(&entries[option]);
  }

  void noun_phrase(Noun kind) {
    writer_.raw(" " + language_.the + " ");
    word(language_.nouns[static_cast<int>(kind)]);
    const bool plural = writer_.chance(1, 2);
    if (plural) writer_.raw("i");
    if (writer_.chance(2, 1)) return;
    writer_.raw(" ");
    word(language_.adjectives);
    if (plural) writer_.raw("i");
  }

  void sentence() {
    if (writer_.chance(1, 4)) writer_.raw(language_.not_ + " ");
    static constexpr Noun kinds[] = {Noun::person, Noun::thing, Noun::place};
    const Noun acts_on = kinds[writer_.choose(3)];
    word(language_.verbs[static_cast<int>(acts_on)]);
    writer_.raw(tenses[writer_.choose(3)]);
    noun_phrase(Noun::person);
    if (acts_on == Noun::place) writer_.raw(" " + language_.to);
    noun_phrase(acts_on);
    if (acts_on != Noun::place && writer_.chance(1, 3)) {
      writer_.raw(" " + language_.and_);
      noun_phrase(acts_on);
    }
    writer_.raw(".");
  }

  // Two to five of the words used, in the order in which they were used.
  void glossary() {
    writer_.one_of({"Words: ", "In English: ", "Dictionary: "});
    const int count = static_cast<int>(used_.size());
    int next = 0;
    for (int listed = 0; listed < 5 && next < count; ++listed) {
      std::vector<uint32_t> weights(count + 1, 0);  // the words left, nearer ones more often, and the end
      for (int i = next; i < count && i < next + 4; ++i) weights[i] = static_cast<uint32_t>(next + 4 - i);
      weights[count] = listed >= 2 ? 3 : 0;
      const int option = writer_.choose(
          weights, [&](int i) { return i < count ? (listed ? ", " : "") + used_[i]->stem : std::string("."); });
      if (option == count) break;
      if (listed) writer_.raw(", ");
      writer_.raw(used_[option]->stem);
      writer_.raw(" = ");
      writer_.raw(used_[option]->meaning);
      next = option + 1;
    }
    writer_.raw(".\n");
  }

  static constexpr std::string_view tenses[] = {"", "ve", "lo"};
  Writer& writer_;
  const Language& language_;
  std::vector<const Entry*> used_;
};

}  // namespace

void write_letter(Writer& writer, const World& world) { LetterWriter(writer, world.language).write(); }

}  // namespace switchyard::corpus
