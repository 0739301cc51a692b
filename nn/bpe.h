// Byte-level byte-pair encoding: cutting a text into pieces, learning merges, applying them.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace switchyard {

// "Where `left` stands before `right`, put `result`." The earlier a merge stands in the list, the sooner it is applied.
struct Merge {
  int32_t left, right, result;
};

// GPT-2's printable stand-in for each byte, by which tokenizer.json writes tokens: the bytes 33-126, 161-172 and
// 174-255 stand for themselves, the 68 others are U+0100, U+0101, … in order. The inverse gives -1 for any other code
// point.
char32_t byte_to_char(uint8_t byte);
int char_to_byte(char32_t code);

// The end of the piece that begins at byte `begin` < text.size(). Merges never cross the border between two pieces.
// The rule is GPT-2's: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// A byte that is not part of a UTF-8 character counts as a character of the third class.
std::size_t piece_end(std::string_view text, std::size_t begin);

// Learns at most `count` merges, the next id being `first_id`; byte_ids[b] is the id of byte b. Each step merges the
// pair of ids that occurs most often; of several, the smallest (left, right). Fewer merges where no pair is left. The
// same as Hugging Face's BpeTrainer with min_frequency 0, given the text as one sequence.
std::vector<Merge> train_merges(std::string_view text, std::span<const int32_t, 256> byte_ids, int32_t first_id,
                                int count);

class BpeEncoder {
 public:
  BpeEncoder() = default;
  BpeEncoder(std::span<const int32_t, 256> byte_ids, std::vector<Merge> merges);

  // Appends the ids of `text`: within each piece, merges the pair of the lowest rank, the leftmost first, until no
  // pair has one. n bytes take O(n log n) time at worst, however they are cut.
  void encode(std::string_view text, std::vector<int32_t>& out) const;

  const std::vector<Merge>& merges() const { return merges_; }

 private:
  void encode_piece(std::string_view piece, std::vector<int32_t>& out) const;
  int32_t rank(int32_t left, int32_t right) const;  // the place in merges_, or -1

  std::array<int32_t, 256> byte_ids_{};
  std::vector<Merge> merges_;
  std::unordered_map<uint64_t, int32_t> ranks_;  // (left, right) -> rank
};

}  // namespace switchyard
