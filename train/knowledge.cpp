#include "train/knowledge.h"

#include <algorithm>
#include <cmath>

#include "train/corpus/tasks.h"

namespace switchyard {
namespace {

using namespace corpus;

constexpr size_t probes_at_once = 32;

// The pattern with its answer in place of "#".
Probe probe(const std::string& pattern, const std::string& answer, double bits) {
  const size_t at = pattern.find('#');
  return {pattern.substr(0, at) + answer + pattern.substr(at + 1), at, at + answer.size(), bits};
}

double bits_of(size_t choices) { return std::log2(double(choices)); }

std::string work_of(const Person& p) {
  return fmt::format("{} {}", work_kinds[static_cast<size_t>(p.work_kind)],
                     work_things[static_cast<size_t>(p.work_thing)]);
}

// A probe as tokens: answer[i] says whether token i + 1 is part of the answer.
struct Row {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> answer;
};

Row row_of(const Probe& probe, const Tokenizer& tokenizer) {
  Row row{{tokenizer.end_id()}, {}};
  tokenizer.encode(probe.text, row.tokens);
  size_t at = 0;  // where the next token begins
  for (size_t i = 1; i < row.tokens.size(); ++i) {
    const size_t end = at + tokenizer.bytes_of(row.tokens[i]).size();
    // The space before a word belongs to its first token, so a token that reaches into the answer is of it.
    row.answer.push_back(end > probe.first && at < probe.last);
    at = end;
  }
  return row;
}

void ask_some(Transformer& model, const Tokenizer& tokenizer, std::span<const Probe> probes, Answers& answers) {
  std::vector<Row> rows;
  size_t T = 0;
  for (const Probe& p : probes) {
    rows.push_back(row_of(p, tokenizer));
    T = std::max(T, rows.back().tokens.size());
  }
  std::vector<int32_t> tokens(rows.size() * T, tokenizer.end_id());
  std::vector<uint8_t> valid(rows.size() * T, 0);
  for (size_t b = 0; b < rows.size(); ++b) {
    std::copy(rows[b].tokens.begin(), rows[b].tokens.end(), tokens.begin() + static_cast<int64_t>(b * T));
    std::fill_n(valid.begin() + static_cast<int64_t>(b * T), rows[b].tokens.size(), uint8_t{1});
  }
  const Shape shape{static_cast<int64_t>(rows.size()), static_cast<int64_t>(T)};
  const Var logits = model(Tensor::from(tokens, shape), {.valid = valid}).logits;
  const std::vector<double> p = softmax(cast(logits, Dtype::f32).value()).values();
  const auto V = static_cast<size_t>(model.config().vocab);
  for (size_t b = 0; b < rows.size(); ++b) {
    bool right = true;
    for (size_t i = 0; i < rows[b].answer.size(); ++i) {
      if (!rows[b].answer[i]) continue;
      const auto row = p.begin() + static_cast<int64_t>((b * T + i) * V);
      const auto wanted = row + rows[b].tokens[i + 1];
      answers.bits -= std::log2(std::max(*wanted, 1e-30));
      right = right && wanted == std::max_element(row, row + static_cast<int64_t>(V));
    }
    answers.right += right, ++answers.asked, answers.unknown += probes[b].bits;
  }
}

}  // namespace

std::vector<Probe> fact_probes(uint64_t corpus_seed, int people) {
  std::vector<Probe> all;
  for (const Person& p : make_world(corpus_seed, people).people) {
    const std::string town(towns[static_cast<size_t>(p.town)]), year = std::to_string(p.birth_year);
    all.push_back(probe(p.name() + " was born in # in " + town + ".", year, bits_of(birth_years)));
    all.push_back(probe(p.name() + " was born in " + year + " in #.", town, bits_of(towns.size())));
    all.push_back(
        probe(p.name() + " is remembered for The #.", work_of(p), bits_of(work_kinds.size() * work_things.size())));
  }
  return all;
}

std::vector<Probe> questions(uint64_t corpus_seed, int people, bool held_out) {
  const World world = make_world(corpus_seed, people);
  std::vector<Probe> all;
  for (size_t i = 0; i < world.people.size(); ++i) {
    if (is_held_out(i) != held_out) continue;
    for (const PersonFact& fact : facts_of(world.people[i], world))
      all.push_back(
          probe(with_name(fact.wordings[0], world.people[i].name()) + " #.", fact.answer, bits_of(fact.choices)));
  }
  return all;
}

Answers ask(Transformer& model, const Tokenizer& tokenizer, const std::vector<Probe>& probes) {
  const NoGrad no_grad;
  Answers answers;
  for (size_t i = 0; i < probes.size(); i += probes_at_once)
    ask_some(model, tokenizer, std::span(probes).subspan(i, std::min(probes_at_once, probes.size() - i)), answers);
  return answers;
}

}  // namespace switchyard
