// The built-in corpus: documents of eight domains from a seeded generator, any number of them, the same bytes on every
// machine. Each choice of the generator has a known probability and different choices give different text, so the
// information content of a document is exact: it is the floor that no model's loss can beat on average.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace switchyard {

enum class Domain { stories, biographies, arithmetic, programs, recipes, timetables, games, letters, count };
constexpr int domain_count = static_cast<int>(Domain::count);
const char* name(Domain domain);  // "stories", "biographies", …

struct CorpusConfig {
  uint64_t seed = 1;
  int people = 200;  // 2 to 100000: the cast of the biographies, that is, how much there is to know
  // How often each domain is written, in proportion; 0 leaves it out. The defaults give each about the same bytes.
  std::array<uint32_t, domain_count> weights = {190, 460, 320, 520, 250, 300, 415, 375};
};

struct Document {
  std::string text;  // UTF-8, at most 700 bytes, no end-of-document marker (the tokenizer adds it)
  Domain domain;     // beside the text, not in it
  double bits;       // -log2 P(text, domain | world), the end included
};

// What the generator can say about a given text. derivations: in how many ways it can write it (1 for its own
// documents; 0, with bits = +inf, for any other text). bits: -log2 of their probability.
struct Score {
  double bits;
  int64_t derivations;
};

// Sums over a range of documents. Floor in nats per byte: bits * ln 2 / bytes.
struct CorpusTotals {
  int64_t documents = 0, bytes = 0;
  double bits = 0;
};

namespace corpus {
struct World;
}

class Corpus {
 public:
  static constexpr int max_bytes = 700;  // of one document

  explicit Corpus(CorpusConfig config = {});  // throws Error when a field is out of range

  // Document `index` of the corpus, independent of the others: training and validation take disjoint ranges.
  Document document(uint64_t index) const;
  // Bits of the facts of all people (birth year, town, teacher …), given their names: what can be learnt by heart.
  double knowledge_bits() const;
  Score score(std::string_view text) const;
  // Information content by domain of documents first … first + count - 1.
  std::array<CorpusTotals, domain_count> measure(uint64_t first, int64_t count) const;
  const CorpusConfig& config() const { return config_; }

 private:
  CorpusConfig config_;
  std::shared_ptr<const corpus::World> world_;
};

}  // namespace switchyard
