// Measures a model on text that it was not trained on.
#pragma once
#include <array>

#include "moe/transformer.h"
#include "train/data.h"

namespace switchyard {

// Cross-entropy alone: no auxiliary loss is in it.
struct Measured {
  double nats = 0;  // sum over tokens of -log p
  int64_t tokens = 0, bytes = 0, documents = 0;
  double floor_bits = 0;  // what the built-in corpus knows of its text; 0 for other text
  double loss() const { return tokens ? nats / double(tokens) : 0; }  // nats per token
  double nats_per_byte() const { return bytes ? nats / double(bytes) : 0; }
  double bits_per_byte() const { return nats_per_byte() * 1.4426950408889634; }  // 1 / ln 2
  double floor_nats_per_byte() const { return bytes ? floor_bits * 0.6931471805599453 / double(bytes) : 0; }
  double above_floor() const { return nats_per_byte() - floor_nats_per_byte(); }  // nats per byte
};

struct Evaluation {
  Measured all;
  std::array<Measured, domain_count> domain;  // built-in corpus only
  // [layer][domain][expert]: visits of the domain's tokens; built-in corpus only.
  std::vector<std::vector<std::vector<int64_t>>> visits;
};

// The validation part in consecutive windows of the model's context, until `max_tokens` are predicted or all are.
// Targets from the second token of a window on see less than a full context, as in training.
Evaluation evaluate_windows(Transformer& model, const Dataset& data, int64_t max_tokens);

// Whole documents of the built-in corpus, each from its beginning: documents first, first + 1, .. until `max_tokens`
// are predicted. The separator after a document is predicted too and counts as no byte. A document longer than the
// context is read in pieces, each with the end of the last piece before it.
Evaluation evaluate_documents(Transformer& model, const Tokenizer& tokenizer, const Corpus& corpus, uint64_t first,
                              int64_t max_tokens);

// The prompt, and what the model writes behind it: at random, or behind a prompt what is likeliest; or why it can not.
std::string written(Transformer& model, const Tokenizer& tokenizer, const std::string& prompt, int64_t tokens,
                    uint64_t seed);

}  // namespace switchyard
