// From text to token ids and back. Three kinds: bytes, characters, and byte-level BPE trained here.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nn/bpe.h"

namespace switchyard {

enum class TokenizerKind { bytes, chars, bpe };

// A value: copy it freely; a const Tokenizer may be used by several threads at once.
//
// The one special token is the separator between documents, <|end|>. `encode` never returns its id: where the text
// itself holds the seven characters "<|end|>" they are encoded like any others, so no document can forge a separator.
// (Hugging Face's library agrees when its `encode_special_tokens` is set. By default it cuts those characters out of
// the text and returns the separator's id; on every other text the two agree as they stand.)
class Tokenizer {
 public:
  static constexpr std::string_view end_text = "<|end|>";
  static constexpr int max_vocab_size = 1 << 20;

  // Ids 0 to 255 are the bytes, 256 is <|end|>.
  static Tokenizer bytes();

  // One id for each code point that occurs in `text`, in order of value, then <|end|>.
  // Error where `text` is not UTF-8, naming the byte.
  static Tokenizer train_chars(std::string_view text);

  // Byte-level BPE (Sennrich et al. 2016, on bytes as in GPT-2): <|end|> is 0, then the 256 bytes in the order of their
  // printable stand-ins (nn/bpe.h), then one id for each merge, most frequent pair first. A text that runs out of pairs
  // gives a smaller vocabulary: ask vocab_size(). Any bytes are accepted, UTF-8 or not.
  // Error for vocab_size outside 257 to max_vocab_size.
  static Tokenizer train_bpe(std::string_view text, int vocab_size);

  // Reads a tokenizer.json of the three forms that to_json writes, and others of their make (GPT-2's own, for one).
  // Whatever else the file holds: Error, which names the file and what is wrong.
  static Tokenizer load(const std::filesystem::path& tokenizer_json);
  static Tokenizer from_json(std::string_view json);

  // Hugging Face's `tokenizers` opens the file and encodes every text to the same ids, for all three kinds.
  // (Chars: a character that is not in the vocabulary is an Error here; their library drops it.)
  std::string to_json() const;
  // Writes beside `tokenizer_json`, then renames: a reader sees the old file or the new one, never half of one.
  void save(const std::filesystem::path& tokenizer_json) const;

  TokenizerKind kind() const { return kind_; }
  int vocab_size() const { return static_cast<int>(tokens_.size()); }
  int end_id() const { return end_id_; }
  std::string_view end_token() const { return end_content_; }  // how the file writes it: <|end|>, or another's name

  // Bytes and BPE take any bytes and give them back unchanged. Chars: Error for a character that is not in the
  // vocabulary, naming it and its byte position. The second form appends to `out`.
  std::vector<int32_t> encode(std::string_view text) const;
  void encode(std::string_view text, std::vector<int32_t>& out) const;

  // The bytes of the tokens, joined; <|end|> adds nothing. Error for an id outside 0 to vocab_size() - 1.
  std::string decode(std::span<const int32_t> ids) const;
  // The raw bytes of one token, which may be part of a character: stream them through Utf8Stream (nn/utf8.h).
  // Empty for <|end|>. The view lives as long as this tokenizer. Error as for decode.
  std::string_view bytes_of(int id) const;

 private:
  Tokenizer(TokenizerKind kind, std::vector<std::string> tokens, int end_id, std::vector<Merge> merges);

  TokenizerKind kind_;
  std::vector<std::string> tokens_;    // id -> raw bytes; empty for <|end|>
  std::string end_content_{end_text};  // how the separator is written in the file
  int end_id_;
  std::unordered_map<char32_t, int32_t> char_ids_;  // chars only
  BpeEncoder bpe_;                                  // bpe only
};

}  // namespace switchyard
