#include "train/evaluate.h"

#include <algorithm>

#include "infer/generate.h"

namespace switchyard {
namespace {

constexpr int64_t evaluation_batch = 16;

// One row of a batch of documents: tokens[first ..] of a document, of which those before `fresh` were counted before.
struct Row {
  Domain domain;
  std::vector<int32_t> tokens, targets;  // as long as each other; target -1: not counted
};

// The loss of each row; targets lie on the CPU.
std::vector<double> losses(const Var& logits, const Tensor& targets) {
  return cross_entropy(logits, targets.to(logits.value().device())).value().values();
}

// Runs a batch of rows of unequal length, padded at their ends, and adds up losses and visits by domain.
void measure_rows(Transformer& model, const std::vector<Row>& rows, Evaluation& result) {
  size_t T = 0;
  for (const Row& row : rows) T = std::max(T, row.tokens.size());
  std::vector<int32_t> tokens(rows.size() * T, 0), targets(rows.size() * T, -1);
  std::vector<uint8_t> valid(rows.size() * T, 0);
  for (size_t b = 0; b < rows.size(); ++b) {
    std::copy(rows[b].tokens.begin(), rows[b].tokens.end(), tokens.begin() + static_cast<int64_t>(b * T));
    std::copy(rows[b].targets.begin(), rows[b].targets.end(), targets.begin() + static_cast<int64_t>(b * T));
    std::fill_n(valid.begin() + static_cast<int64_t>(b * T), rows[b].tokens.size(), uint8_t{1});
  }
  const Shape shape{static_cast<int64_t>(rows.size()), static_cast<int64_t>(T)};
  const ForwardResult f = model(Tensor::from(tokens, shape), {.valid = valid});
  const std::vector<double> loss = losses(f.logits, Tensor::from(targets, {shape.count()}));
  for (size_t i = 0; i < loss.size(); ++i) {
    if (targets[i] < 0) continue;
    Measured& m = result.domain[static_cast<size_t>(rows[i / T].domain)];
    m.nats += loss[i];
    ++m.tokens;
  }
  if (result.visits.empty())
    result.visits.assign(f.routes.size(), std::vector<std::vector<int64_t>>(
                                              domain_count, std::vector<int64_t>(size_t(model.config().experts), 0)));
  for (size_t layer = 0; layer < f.routes.size(); ++layer) {
    const RoutingPlan& plan = f.routes[layer].plan;
    const std::vector<int32_t> expert = plan.slot_expert();
    const Tensor slot_token = plan.slot_token.to(Device::cpu);
    for (size_t s = 0; s < expert.size(); ++s) {
      const size_t row = static_cast<size_t>(slot_token.data<int32_t>()[s]) / T;
      ++result.visits[layer][static_cast<size_t>(rows[row].domain)][static_cast<size_t>(expert[s])];
    }
  }
}

// A document as rows of at most T tokens; each after the first begins with the last half of the row before.
std::vector<Row> rows_of(const Document& document, const Tokenizer& tokenizer, size_t T) {
  std::vector<int32_t> ids{tokenizer.end_id()};
  tokenizer.encode(document.text, ids);
  ids.push_back(tokenizer.end_id());
  std::vector<Row> rows;
  for (size_t counted = 0; counted + 1 < ids.size();) {  // targets up to ids[counted] have been counted
    const size_t first = counted == 0 ? 0 : counted - std::min(counted, T / 2);
    const size_t last = std::min(first + T, ids.size() - 1);  // tokens first .. last-1, targets one on
    Row row{document.domain,
            {ids.begin() + int64_t(first), ids.begin() + int64_t(last)},
            {ids.begin() + int64_t(first) + 1, ids.begin() + int64_t(last) + 1}};
    std::fill_n(row.targets.begin(), counted - first, -1);
    rows.push_back(std::move(row));
    counted = last;
  }
  return rows;
}

}  // namespace

Evaluation evaluate_windows(Transformer& model, const Dataset& data, int64_t max_tokens) {
  const NoGrad no_grad;
  const int64_t T = model.config().context;
  const int64_t wanted = max_tokens / T + (max_tokens % T != 0);
  const int64_t windows = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(data.validation_windows(T), 1));
  Evaluation result;
  for (int64_t w = 0; w < windows; w += evaluation_batch) {
    const Batch batch = data.validation_batch(w, std::min(evaluation_batch, windows - w), T);
    const ForwardResult f = model(batch.tokens);
    const std::vector<double> loss = losses(f.logits, batch.targets);
    for (size_t i = 0; i < loss.size(); ++i) {
      const int32_t target = batch.targets.data<int32_t>()[i];
      if (target < 0) continue;
      result.all.nats += loss[i];
      ++result.all.tokens;
      result.all.bytes += static_cast<int64_t>(data.tokenizer().bytes_of(target).size());
    }
  }
  return result;
}

Evaluation evaluate_documents(Transformer& model, const Tokenizer& tokenizer, const Corpus& corpus, uint64_t first,
                              int64_t max_tokens) {
  const NoGrad no_grad;
  Evaluation result;
  std::vector<Row> waiting;
  int64_t tokens = 0;
  for (uint64_t i = first; tokens < max_tokens; ++i) {
    const Document document = corpus.document(i);
    Measured& m = result.domain[static_cast<size_t>(document.domain)];
    ++m.documents;
    m.bytes += static_cast<int64_t>(document.text.size());
    m.floor_bits += document.bits;
    for (Row& row : rows_of(document, tokenizer, static_cast<size_t>(model.config().context))) {
      tokens += std::count_if(row.targets.begin(), row.targets.end(), [](int32_t t) { return t >= 0; });
      waiting.push_back(std::move(row));
    }
    if (waiting.size() < evaluation_batch && tokens < max_tokens) continue;
    measure_rows(model, waiting, result);
    waiting.clear();
  }
  for (const Measured& m : result.domain) {
    result.all.nats += m.nats, result.all.tokens += m.tokens, result.all.bytes += m.bytes;
    result.all.documents += m.documents, result.all.floor_bits += m.floor_bits;
  }
  return result;
}

std::string written(Transformer& model, const Tokenizer& tokenizer, const std::string& prompt, int64_t tokens,
                    uint64_t seed) {
  if (!model.causal()) return "(this router needs the whole text at once, so the model cannot write)";
  GenerateConfig generation{.max_tokens = static_cast<int>(tokens), .stop = {}, .sampler = {}, .cancel = nullptr};
  generation.sampler.temperature = prompt.empty() ? 0.8 : 0;
  generation.sampler.seed = seed;
  try {
    return prompt + generate(model, tokenizer, prompt, generation).text;
  } catch (const Error& error) {
    return fmt::format("(nothing was written: {})", error.what());  // logits that are no numbers, in a run gone wrong
  }
}

}  // namespace switchyard
