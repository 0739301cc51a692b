#include "train/corpus/corpus.h"

#include <cmath>
#include <limits>

#include "tensor/error.h"
#include "train/corpus/domains.h"

namespace switchyard {

namespace {

using WriteDocument = void (*)(corpus::Writer&, const corpus::World&);
struct DomainRow {
  const char* name;
  WriteDocument write;
};
constexpr std::array<DomainRow, domain_count> domains = {{{"stories", corpus::write_story},
                                                          {"biographies", corpus::write_biography},
                                                          {"arithmetic", corpus::write_arithmetic},
                                                          {"programs", corpus::write_program},
                                                          {"recipes", corpus::write_recipe},
                                                          {"timetables", corpus::write_timetable},
                                                          {"games", corpus::write_game},
                                                          {"letters", corpus::write_letter}}};

// The whole grammar: a domain, then a document of it.
Domain write_any(corpus::Chooser& chooser, const CorpusConfig& config, const corpus::World& world) {
  corpus::Writer writer(chooser);
  const int domain = writer.choose(config.weights);
  domains[domain].write(writer, world);
  return static_cast<Domain>(domain);
}

}  // namespace

const char* name(Domain domain) { return domains.at(static_cast<size_t>(domain)).name; }

Corpus::Corpus(CorpusConfig config) : config_(config) {
  uint64_t total = 0;
  for (uint32_t weight : config.weights) total += weight;
  check(total > 0, "corpus weights: all are 0; at least one domain must be written");
  world_ = std::make_shared<const corpus::World>(corpus::make_world(config.seed, config.people));
}

Document Corpus::document(uint64_t index) const {
  corpus::Sampler sampler(corpus::Dice(config_.seed, index));
  const Domain domain = write_any(sampler, config_, *world_);
  return {sampler.take_text(), domain, sampler.bits()};
}

double Corpus::knowledge_bits() const { return corpus::fact_bits(config_.people); }

Score Corpus::score(std::string_view text) const {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Score score{infinity, 0};
  corpus::Reader reader(text);
  do {
    reader.start();
    try {
      write_any(reader, config_, *world_);
    } catch (const corpus::Mismatch&) {
      continue;  // jumps to the condition: the next path
    }
    if (!reader.at_end()) continue;
    // -log2(2^-a + 2^-b), without the powers that would underflow
    const double less = std::min(score.bits, reader.bits()), more = std::max(score.bits, reader.bits());
    score.bits = less - std::log2(1 + std::exp2(less - more));
    ++score.derivations;
  } while (reader.next_path());
  return score;
}

std::array<CorpusTotals, domain_count> Corpus::measure(uint64_t first, int64_t count) const {
  std::array<CorpusTotals, domain_count> totals;
  for (int64_t i = 0; i < count; ++i) {
    const Document written = document(first + static_cast<uint64_t>(i));
    CorpusTotals& sum = totals[static_cast<size_t>(written.domain)];
    ++sum.documents;
    sum.bytes += static_cast<int64_t>(written.text.size());
    sum.bits += written.bits;
  }
  return totals;
}

}  // namespace switchyard
