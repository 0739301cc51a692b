// Text as tokens on disk. A corpus is encoded once into a file of token ids, which is then mapped into memory, so a
// corpus may be larger than memory.
#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/tokenizer.h"
#include "tensor/file.h"
#include "tensor/tensor.h"
#include "train/config.h"
#include "train/corpus/corpus.h"

namespace switchyard {

// A mapped file of token ids, 16 or 32 bits each. Those of conversations have 32, for two marks.
class TokenFile {
 public:
  static constexpr int32_t asked = 1 << 30;  // mark of a token that is read and not learnt
  static constexpr int32_t opens = 1 << 29;  // mark of a conversation's first token
  static_assert(Tokenizer::max_vocab_size <= opens, "no id reaches into the marks");

  explicit TokenFile(const std::filesystem::path& path);
  int64_t count() const { return count_; }
  int32_t operator[](int64_t i) const { return raw(i) & (opens - 1); }
  bool learnt(int64_t i) const { return (raw(i) & asked) == 0; }
  bool opening(int64_t i) const { return (raw(i) & opens) != 0; }

 private:
  int32_t raw(int64_t i) const {
    return wide_ ? reinterpret_cast<const int32_t*>(ids_)[i] : reinterpret_cast<const uint16_t*>(ids_)[i];
  }
  MappedFile file_;
  const std::byte* ids_ = nullptr;
  int64_t count_ = 0;
  bool wide_ = false;
};

// Token ids of a batch and, one step on, what the model should say: both i32 (B, T). A target of -1 is not learnt.
struct Batch {
  Tensor tokens, targets;
  int64_t learnt = 0;                                                    // targets that are
  double per_target() const { return learnt ? 1 / double(learnt) : 0; }  // makes their mean of their sum
};

// Where text comes from: files, or the built-in corpus where there are none.
struct Source {
  std::vector<std::filesystem::path> files;
  bool conversations = false;  // the files hold those (train/conversations.h), of which answers alone are learnt
  // The file of its tokens in the run's folder, once it has been made: what a resumed run reads, whatever has become of
  // the files since. "": not made yet.
  std::string tokens;
  bool built_in() const { return files.empty(); }
};

// A text made ready for training: its tokenizer, and tokens split by position into training and validation.
class Dataset {
 public:
  // Opens the text, with the tokenizer in dir/tokenizer.json or, where there is none, one trained on the text; encodes
  // it to dir/tokens-*.bin unless that is there already. Error if a file is missing or the text is too short for one
  // window of `context` tokens on either side of the split; of conversations, if there is none on either side, or one
  // is longer than such a window.
  Dataset(const Source& source, const TrainConfig& config, int64_t context, const std::filesystem::path& dir);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::string& tokens_name() const { return tokens_name_; }  // see Source
  int64_t train_tokens() const { return split_; }
  int64_t validation_tokens() const { return tokens_.count() - split_; }
  std::vector<int64_t> occurrences() const;  // of each token of the vocabulary in the training part
  double bytes_per_token() const;            // mean over what is to be learnt in the validation part
  // Mean length of a document of the built-in corpus, at most `most`; `most` for other text.
  int64_t document_tokens(int64_t most) const {
    return documents_.empty() ? most : std::min(most, split_ / static_cast<int64_t>(documents_.size()));
  }
  // Pass `pass` of a run: B windows of T tokens, drawn by (seed, pass) alone. Windows of the built-in corpus begin at
  // a document, those of conversations at one.
  Batch batch(int64_t pass, int64_t B, int64_t T, uint64_t seed) const;
  // Window w of the validation part, in order and without overlap; rows past the end have no targets. Those of
  // conversations, of which T must be the context, hold whole ones, as many as fit.
  Batch validation_batch(int64_t first_window, int64_t B, int64_t T) const;
  // The last one may be a part.
  int64_t validation_windows(int64_t T) const;
  // How a conversation of the validation part begins, up to its first answer: number `i`, counted around. Of other
  // text: "".
  std::string prompt(int64_t i) const;

 private:
  struct Window {
    int64_t start, end;  // nothing from `end` on is read or learnt
  };
  Batch windows(const std::vector<Window>& rows, int64_t T) const;
  void find_conversations(int64_t context, double validation);

  Tokenizer tokenizer_;
  std::string tokens_name_;
  TokenFile tokens_;
  bool conversations_;
  int64_t split_ = 0;
  std::vector<int64_t> documents_;  // starts of the training part's documents or conversations; none for other text
  std::vector<Window> held_out_;    // of the validation part's conversations
};

// The documents that evaluation uses: indices that training never reaches.
constexpr uint64_t first_validation_document = uint64_t{1} << 40;
// The first document of evaluation `seed`; 0 is the one that training watches. Up to 2^20 seeds, 2^32 documents each.
inline uint64_t validation_document(uint64_t seed) {
  check(seed < uint64_t{1} << 20, "--seed {}: must be 0 to 1048575 here", seed);
  return first_validation_document + (seed << 32);
}
Corpus built_in_corpus(const TrainConfig& config);

}  // namespace switchyard
