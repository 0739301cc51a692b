// The built-in corpus: its bytes, its information content, and the proof that one text has one derivation.
// What the documents say is checked, domain by domain, in test_corpus_domains.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "tensor/error.h"
#include "train/corpus/corpus.h"
#include "train/corpus/domains.h"

using namespace switchyard;

namespace {

uint64_t fnv1a(std::string_view bytes, uint64_t hash) {
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3ull;
  return hash;
}

bool valid_utf8(std::string_view text) {  // of at most two bytes a letter, which is all that the corpus uses
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 128) continue;
    if (byte < 0xc2 || byte > 0xdf || ++i == text.size()) return false;
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return false;
  }
  return true;
}

CorpusConfig only(Domain domain, uint64_t seed = 1, int people = 200) {
  CorpusConfig config{.seed = seed, .people = people, .weights = {}};
  config.weights[static_cast<size_t>(domain)] = 1;
  return config;
}

// Runs a pattern under a Reader: the number of derivations of `text`, and the sum of their probabilities.
std::pair<int, double> derive(std::string_view pattern, std::string_view text) {
  static constexpr std::string_view colours[] = {"red", "blue", "green"};
  corpus::Reader reader(text);
  int derivations = 0;
  double probability = 0;
  do {
    reader.start();
    try {
      corpus::Writer writer(reader);
      writer.vary("colour", colours);
      writer.vary("other", colours, {}, {"colour"});
      writer.write(pattern);
    } catch (const corpus::Mismatch&) {
      continue;
    }
    if (!reader.at_end()) continue;
    ++derivations;
    probability += std::exp2(-reader.bits());
  } while (reader.next_path());
  return {derivations, probability};
}

// A Chooser that follows a script where it has one, and draws elsewhere; it keeps what it did.
class Scripted : public corpus::Chooser {
 public:
  Scripted(std::vector<uint32_t> script, uint64_t seed) : script_(std::move(script)), dice_(seed, 0) {}
  int choose(const corpus::Choice& choice) override {
    const size_t at = taken.size();
    taken.push_back(at < script_.size() ? script_[at] : static_cast<uint32_t>(dice_.below(1 << 30)));
    int option = static_cast<int>(taken.back() % static_cast<uint32_t>(choice.count));
    while (!choice.weights.empty() && choice.weights[option] == 0) option = (option + 1) % choice.count;
    return option;
  }
  void emit(std::string_view text) override { bytes += text.size(); }
  std::vector<uint32_t> taken;
  size_t bytes = 0;

 private:
  std::vector<uint32_t> script_;
  corpus::Dice dice_;
};

}  // namespace

TEST_CASE("corpus: a pattern's texts have the probabilities of its choices") {
  CHECK(derive("a [b|c[d|e]].", "a b.") == std::pair(1, 0.5));
  CHECK(derive("a [b|c[d|e]].", "a ce.") == std::pair(1, 0.25));
  CHECK(derive("a [b|c[d|e]].", "a d.").first == 0);
  CHECK(derive("a [b|c[d|e]].", "a b").first == 0);    // too short
  CHECK(derive("a [b|c[d|e]].", "a b. ").first == 0);  // too long
  CHECK(derive("[|very ]{colour}", "red").second == doctest::Approx(1.0 / 6));
  CHECK(derive("{Colour}, {a other}, {colour}", "Red, a green, red").second == doctest::Approx(1.0 / 6));
  CHECK(derive("{Colour}, {a other}, {colour}", "Red, a green, blue").first == 0);  // {colour} is chosen once
  CHECK(derive("{Colour}, {a other}, {colour}", "Red, a red, red").first == 0);     // and {other} is another one
  CHECK(derive("[a|ab][bc|c]", "abc") == std::pair(2, 0.5));  // the walk finds every derivation of an ambiguous text
}

TEST_CASE("corpus: dice are uniform, and each stream is its own") {
  corpus::Dice dice(7, 3), same(7, 3), other(7, 4);
  std::array<int, 3> hits{};
  bool differs = false;
  for (int i = 0; i < 30000; ++i) {
    const uint64_t draw = dice.below(3);
    REQUIRE(draw < 3);
    ++hits[draw];
    CHECK(same.below(3) == draw);
    differs |= other.below(3) != draw;
  }
  for (int count : hits) CHECK(std::abs(count - 10000) < 400);  // five standard deviations
  CHECK(differs);
  CHECK(dice.below(1) == 0);
}

TEST_CASE("corpus: the same bytes on every machine") {
  const Corpus corpus({.seed = 1});
  uint64_t hash = 0xcbf29ce484222325ull;
  std::set<std::string> texts;
  for (uint64_t i = 0; i < 1000; ++i) {
    const Document document = corpus.document(i);
    hash = fnv1a(document.text, hash);
    hash = fnv1a(name(document.domain), hash);
    texts.insert(document.text);
  }
  CHECK(hash == 0x8928594d15754fecull);
  CHECK(texts.size() == 1000);  // nothing is written twice
  CHECK(Corpus({.seed = 1}).document(977).text == corpus.document(977).text);
  CHECK(Corpus({.seed = 2}).document(977).text != corpus.document(977).text);
}

TEST_CASE("corpus: every domain appears, in short valid documents of sane information content") {
  const Corpus corpus;
  for (uint64_t i = 0; i < 4000; ++i) {
    const Document document = corpus.document(i);
    CHECK(document.text.size() >= 60);
    CHECK(document.text.size() <= Corpus::max_bytes);
    CHECK(valid_utf8(document.text));
  }
  const auto totals = corpus.measure(0, 8000);
  double all = 0;
  for (const CorpusTotals& total : totals) all += static_cast<double>(total.bytes);
  for (const CorpusTotals& total : totals) {
    const auto bytes = static_cast<double>(total.bytes);
    CHECK(std::abs(bytes / all * domain_count - 1) < 0.1);  // by default, about as many bytes of each
    CHECK(total.bits / bytes > 0.08);
    CHECK(total.bits / bytes < 0.6);
  }
}

TEST_CASE("corpus: a document has exactly one derivation, and its bits are the reported ones") {
  for (const CorpusConfig& config : {CorpusConfig{}, CorpusConfig{.seed = 99, .people = 2}}) {
    const Corpus corpus(config);
    for (uint64_t i = 0; i < 1200; ++i) {
      const Document document = corpus.document(i);
      const Score score = corpus.score(document.text);
      CAPTURE(document.text);
      CHECK(score.derivations == 1);
      CHECK(score.bits == doctest::Approx(document.bits).epsilon(1e-9));
    }
  }
}

TEST_CASE("corpus: a text that the generator cannot write has probability 0") {
  const Corpus corpus;
  const auto impossible = [&](std::string_view text) {
    const Score score = corpus.score(text);
    return score.derivations == 0 && std::isinf(score.bits);
  };
  CHECK(impossible(""));
  CHECK(impossible("Once upon a time"));
  for (uint64_t i = 0; i < 200; ++i) {
    const std::string text = corpus.document(i).text;
    CHECK(impossible(text + " "));
    CHECK(impossible(text + text));
    CHECK(impossible(text.substr(0, text.size() / 2)));
  }
  // The last name in a story becomes another one: nothing before it can be written with that ending.
  const Corpus stories(only(Domain::stories));
  int changed = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    std::string text = stories.document(i).text;
    for (std::string_view hero : {"Felix", "Clara"}) {
      const size_t last = text.rfind(hero);
      if (last == std::string::npos || text.find(hero) == last) continue;
      CHECK(impossible(text.replace(last, hero.size(), "Rosa")));
      ++changed;
      break;
    }
  }
  CHECK(changed > 10);
}

TEST_CASE("corpus: a wrong sum, a late train, a wrong fact and an illegal move have probability 0") {
  const Corpus corpus;
  int changed = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const Document document = corpus.document(i);
    std::string text = document.text;
    size_t at = std::string::npos;
    if (document.domain == Domain::arithmetic) at = text.find_last_of("0123456789");
    if (document.domain == Domain::programs) at = text.size() - 2;
    if (document.domain == Domain::timetables) at = text.find(':', text.find(':', text.find(':') + 1) + 1) + 1;
    if (document.domain == Domain::biographies) at = text.find("18");
    if (document.domain == Domain::games) at = text.rfind(": 0, 0, 0");
    if (document.domain == Domain::games && at != std::string::npos) at += 2;
    if (at == std::string::npos || !std::isdigit(static_cast<unsigned char>(text[at]))) continue;
    text[at] = text[at] == '9' ? '0' : static_cast<char>(text[at] + 1);
    CAPTURE(text);
    CHECK(corpus.score(text).derivations == 0);
    ++changed;
  }
  CHECK(changed > 150);
}

TEST_CASE("corpus: no document can be longer than promised") {
  // Climbs from random documents: one choice after another is changed, and kept where the document does not get
  // shorter.
  const corpus::World world = corpus::make_world(1, 200);
  constexpr std::array writers = {corpus::write_story,   corpus::write_biography, corpus::write_arithmetic,
                                  corpus::write_program, corpus::write_recipe,    corpus::write_timetable,
                                  corpus::write_game,    corpus::write_letter};
  for (size_t domain = 0; domain < writers.size(); ++domain) {
    size_t longest = 0;
    for (uint64_t start = 0; start < 3; ++start) {
      std::vector<uint32_t> script;
      size_t bytes = 0;
      corpus::Dice dice(start, domain);
      for (uint64_t step = 0; step < 6000; ++step) {
        std::vector<uint32_t> changed = script;
        if (!changed.empty()) changed[dice.below(changed.size())] = static_cast<uint32_t>(dice.below(1 << 30));
        Scripted chooser(changed, dice.next());
        corpus::Writer writer(chooser);
        writers[domain](writer, world);
        if (chooser.bytes >= bytes) bytes = chooser.bytes, script = chooser.taken;
      }
      longest = std::max(longest, bytes);
    }
    CAPTURE(domain);
    CHECK(longest <= Corpus::max_bytes);
  }
}

TEST_CASE("corpus: the cast") {
  const double each = std::log2(128.0) + 3 * std::log2(32.0) + 3 * std::log2(16.0);  // year; town, profession, thing; …
  CHECK(Corpus().knowledge_bits() == doctest::Approx(200 * (each + std::log2(199.0))));
  CHECK(Corpus({.people = 2}).knowledge_bits() == doctest::Approx(2 * each));  // the teacher can only be the other one

  const corpus::World world = corpus::make_world(5, 100000);
  std::set<std::string> names;
  for (size_t i = 0; i < world.people.size(); ++i) {
    names.insert(world.people[i].name());
    CHECK(world.people[i].teacher != static_cast<int>(i));
  }
  CHECK(names.size() == 100000);
  const Corpus large(only(Domain::biographies, 5, 100000));
  CHECK(large.score(large.document(3).text).derivations == 1);
  CHECK_THROWS_WITH_AS(Corpus({.people = 1}), "--people 1: must be 2 to 100000", Error);
  CHECK_THROWS_WITH_AS(Corpus({.people = 100001}), "--people 100001: must be 2 to 100000", Error);
}

TEST_CASE("corpus: weights choose the domains") {
  for (int domain = 0; domain < domain_count; ++domain) {
    const Corpus corpus(only(static_cast<Domain>(domain)));
    for (uint64_t i = 0; i < 20; ++i) CHECK(corpus.document(i).domain == static_cast<Domain>(domain));
  }
  CHECK_THROWS_AS(Corpus({.weights = {}}), Error);
}
