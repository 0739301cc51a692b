#include "nn/tokenizer.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "nn/utf8.h"
#include "tensor/error.h"

namespace switchyard {
namespace {

// "U+00E9 'é' at byte 17", or the byte itself where it is not UTF-8.
std::string describe(std::string_view text, std::size_t at) {
  const Utf8Char next = read_utf8(text, at);
  if (next.status != Utf8Char::valid)
    return fmt::format("the byte 0x{:02X} at byte {} is not UTF-8", static_cast<uint8_t>(text[at]), at);
  const auto code = static_cast<uint32_t>(next.code);
  const bool printable = code > 0x20 && code != 0x7F && !(code >= 0x80 && code < 0xA0);
  return fmt::format("U+{:04X}{} at byte {}", code, printable ? fmt::format(" '{}'", text.substr(at, next.length)) : "",
                     at);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerKind kind, std::vector<std::string> tokens, int end_id, std::vector<Merge> merges)
    : kind_(kind), tokens_(std::move(tokens)), end_id_(end_id) {
  if (kind == TokenizerKind::chars) {
    for (int id = 0; id < vocab_size(); ++id)
      if (id != end_id) char_ids_[read_utf8(tokens_[id], 0).code] = id;
  }
  if (kind == TokenizerKind::bpe) {
    std::array<int32_t, 256> byte_ids{};
    for (int id = 0; id < vocab_size(); ++id)
      if (tokens_[id].size() == 1) byte_ids[static_cast<uint8_t>(tokens_[id][0])] = id;
    bpe_ = BpeEncoder(byte_ids, std::move(merges));
  }
}

Tokenizer Tokenizer::bytes() {
  std::vector<std::string> tokens(257);
  for (int byte = 0; byte < 256; ++byte) tokens[byte] = static_cast<char>(byte);
  return Tokenizer(TokenizerKind::bytes, std::move(tokens), 256, {});
}

Tokenizer Tokenizer::train_chars(std::string_view text) {
  std::set<char32_t> codes;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char next = read_utf8(text, at);
    check(next.status == Utf8Char::valid, "training text: {}; a chars tokenizer needs UTF-8", describe(text, at));
    codes.insert(next.code);
    at += next.length;
  }
  std::vector<std::string> tokens;
  for (const char32_t code : codes) append_utf8(tokens.emplace_back(), code);
  tokens.emplace_back();
  const int end_id = static_cast<int>(codes.size());
  return Tokenizer(TokenizerKind::chars, std::move(tokens), end_id, {});
}

Tokenizer Tokenizer::train_bpe(std::string_view text, int vocab_size) {
  check(vocab_size >= 257 && vocab_size <= max_vocab_size, "vocabulary size {}: must be 257 to {}", vocab_size,
        max_vocab_size);
  std::vector<std::string> tokens(1);  // <|end|>
  std::array<uint8_t, 256> alphabet;
  std::iota(alphabet.begin(), alphabet.end(), uint8_t{0});
  std::sort(alphabet.begin(), alphabet.end(), [](uint8_t a, uint8_t b) { return byte_to_char(a) < byte_to_char(b); });
  std::array<int32_t, 256> byte_ids;
  for (const uint8_t byte : alphabet) {
    byte_ids[byte] = static_cast<int32_t>(tokens.size());
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<Merge> merges = train_merges(text, byte_ids, 257, vocab_size - 257);
  for (const Merge& merge : merges) tokens.push_back(tokens[merge.left] + tokens[merge.right]);
  return Tokenizer(TokenizerKind::bpe, std::move(tokens), 0, std::move(merges));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> out;
  encode(text, out);
  return out;
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  switch (kind_) {
    case TokenizerKind::bytes:
      for (const char c : text) out.push_back(static_cast<uint8_t>(c));
      return;
    case TokenizerKind::chars:
      for (std::size_t at = 0; at < text.size();) {
        const Utf8Char next = read_utf8(text, at);
        const auto found = next.status == Utf8Char::valid ? char_ids_.find(next.code) : char_ids_.end();
        if (found == char_ids_.end())
          fail("{}: not one of the {} characters of this vocabulary", describe(text, at), char_ids_.size());
        out.push_back(found->second);
        at += next.length;
      }
      return;
    case TokenizerKind::bpe:
      bpe_.encode(text, out);
  }
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes_of(id);
  return text;
}

std::string_view Tokenizer::bytes_of(int id) const {
  check(id >= 0 && id < vocab_size(), "token {}: must be 0 to {}", id, vocab_size() - 1);
  return tokens_[id];
}

}  // namespace switchyard
