#include "nn/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "nn/unicode.h"
#include "nn/utf8.h"

namespace switchyard {
namespace {

//@begin stand-ins
bool stands_for_itself(int byte) {
  const bool ascii = byte >= 33 && byte <= 126;
  return ascii || (byte >= 161 && byte != 173);  // 173: the soft hyphen
}
//@end stand-ins

std::array<char32_t, 256> make_stand_ins() {
  std::array<char32_t, 256> chars{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) chars[byte] = stands_for_itself(byte) ? byte : next++;
  return chars;
}

uint64_t pair_key(int32_t left, int32_t right) {  // ordered as the pairs are: first by left, then by right
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// One character and its class. Bytes that are no character are of the class `other`.
struct Seen {
  CharClass kind;
  std::size_t end;
};

Seen look(std::string_view text, std::size_t at) {
  const Utf8Char next = read_utf8(text, at);
  return {next.status == Utf8Char::valid ? char_class(next.code) : CharClass::other, at + next.length};
}

// The length of 's 't 're 've 'm 'll 'd at the front of `text`, else 0.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (std::string_view("stmd").find(text[1]) != std::string_view::npos) return 2;
  const std::string_view two = text.substr(1, 2);
  return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
}

}  // namespace

char32_t byte_to_char(uint8_t byte) {
  static const std::array<char32_t, 256> chars = make_stand_ins();
  return chars[byte];
}

int char_to_byte(char32_t code) {
  static const auto bytes = [] {
    std::array<int, 0x144> table;
    table.fill(-1);
    for (int byte = 0; byte < 256; ++byte) table[byte_to_char(static_cast<uint8_t>(byte))] = byte;
    return table;
  }();
  return code < bytes.size() ? bytes[code] : -1;
}

std::size_t piece_end(std::string_view text, std::size_t begin) {
  if (const std::size_t length = contraction(text.substr(begin))) return begin + length;
  Seen first = look(text, begin);
  if (text[begin] == ' ' && first.end < text.size()) {  // one space goes with the word after it
    const Seen second = look(text, first.end);
    if (second.kind != CharClass::space) first = second;
  }
  //@begin run
  std::size_t end = first.end, last = begin;
  while (end < text.size()) {
    const Seen next = look(text, end);
    if (next.kind != first.kind) break;
    last = end;  // where the last character of the run begins
    end = next.end;
  }
  // \s+(?!\S): of several spaces, the last is left to the word that follows.
  const bool several = first.kind == CharClass::space && last > begin;
  return several && end < text.size() ? last : end;
  //@end run
}

// ---- Training ----

namespace {

// Counts every pair once and then only corrects the counts where a merge changed something.
class Trainer {
 public:
  Trainer(std::string_view text, std::span<const int32_t, 256> byte_ids);
  // The pair that occurs most often, of several the smallest; `result` is left open. False when no pair is left.
  bool most_frequent(Merge& merge);
  void apply(const Merge& merge);

 private:
  struct Word {
    std::vector<int32_t> ids;
    int64_t count;  // how often this piece stands in the text
  };
  struct Pair {
    int64_t count = 0;
    std::vector<int32_t> words;  // all that hold the pair; some may have lost it since
  };
  struct Candidate {
    int64_t count;
    uint64_t key;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  void change(int32_t left, int32_t right, int64_t by, int32_t word);
  void queue_grown();
  void rewrite(int32_t word, const Merge& merge);

  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::vector<uint64_t> grown_;  // the pairs that came up since the queue was last filled: no other count can rise
  // A pair's count in the queue may be too high, never too low: it is put right when it comes to the front.
  std::priority_queue<Candidate> queue_;
};

Trainer::Trainer(std::string_view text, std::span<const int32_t, 256> byte_ids) {
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end) {
    end = piece_end(text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    const auto [entry, is_new] = index.try_emplace(piece, words_.size());
    if (is_new) {
      words_.push_back({{}, 0});
      for (const char c : piece) words_.back().ids.push_back(byte_ids[static_cast<uint8_t>(c)]);
    }
    ++words_[entry->second].count;
  }
  for (std::size_t w = 0; w < words_.size(); ++w)
    for (std::size_t i = 1; i < words_[w].ids.size(); ++i)
      change(words_[w].ids[i - 1], words_[w].ids[i], words_[w].count, static_cast<int32_t>(w));
  queue_grown();
}

void Trainer::change(int32_t left, int32_t right, int64_t by, int32_t word) {
  const uint64_t key = pair_key(left, right);
  Pair& pair = pairs_[key];
  pair.count += by;
  if (by < 0) return;
  if (pair.words.empty()) grown_.push_back(key);
  if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
}

void Trainer::queue_grown() {
  for (const uint64_t key : grown_)
    if (const int64_t count = pairs_[key].count; count > 0) queue_.push({count, key});
  grown_.clear();
}

//@begin most-frequent
bool Trainer::most_frequent(Merge& merge) {
  while (!queue_.empty()) {
    const auto [count, key] = queue_.top();
    queue_.pop();
    merge.left = static_cast<int32_t>(key >> 32);
    merge.right = static_cast<int32_t>(key);
    const int64_t now = pairs_[key].count;
    if (now == count) return true;
    if (now > 0) queue_.push({now, key});
  }
  return false;
}
//@end most-frequent

void Trainer::apply(const Merge& merge) {
  const uint64_t key = pair_key(merge.left, merge.right);
  const std::vector<int32_t> words = std::move(pairs_[key].words);
  for (const int32_t word : words) rewrite(word, merge);
  pairs_.erase(key);
  queue_grown();
}

void Trainer::rewrite(int32_t word, const Merge& merge) {
  std::vector<int32_t>& ids = words_[word].ids;
  const int64_t count = words_[word].count;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i + 1 == ids.size() || ids[i] != merge.left || ids[i + 1] != merge.right) {
      ids[kept++] = ids[i];
      continue;
    }
    //@begin neighbours
    if (kept > 0) {
      change(ids[kept - 1], merge.left, -count, word);
      change(ids[kept - 1], merge.result, count, word);
    }
    if (i + 2 < ids.size()) {
      change(merge.right, ids[i + 2], -count, word);
      change(merge.result, ids[i + 2], count, word);
    }
    ids[kept++] = merge.result;
    //@end neighbours
    ++i;
  }
  ids.resize(kept);
}

}  // namespace

// Hugging Face's trainer gives a merge the id of an older token where one spells the same bytes. That never happens
// here: between two borders that still stand, what was merged depends on the bytes between them alone, so a stretch
// that is two tokens now was two tokens everywhere.
std::vector<Merge> train_merges(std::string_view text, std::span<const int32_t, 256> byte_ids, int32_t first_id,
                                int count) {
  Trainer trainer(text, byte_ids);
  std::vector<Merge> merges;
  Merge merge{0, 0, first_id};
  while (static_cast<int>(merges.size()) < count && trainer.most_frequent(merge)) {
    trainer.apply(merge);
    merges.push_back(merge);
    ++merge.result;
  }
  return merges;
}

// ---- Encoding ----

BpeEncoder::BpeEncoder(std::span<const int32_t, 256> byte_ids, std::vector<Merge> merges) : merges_(std::move(merges)) {
  std::copy(byte_ids.begin(), byte_ids.end(), byte_ids_.begin());
  ranks_.reserve(merges_.size());
  for (std::size_t r = 0; r < merges_.size(); ++r)
    ranks_.emplace(pair_key(merges_[r].left, merges_[r].right), static_cast<int32_t>(r));
}

int32_t BpeEncoder::rank(int32_t left, int32_t right) const {
  const auto found = ranks_.find(pair_key(left, right));
  return found == ranks_.end() ? -1 : found->second;
}

void BpeEncoder::encode(std::string_view text, std::vector<int32_t>& out) const {
  struct Place {
    std::size_t begin, end;
  };
  std::unordered_map<std::string_view, Place> seen;  // where in `out` the ids of a piece already stand
  for (std::size_t begin = 0, end; begin < text.size(); begin = end) {
    end = piece_end(text, begin);
    const auto [entry, is_new] = seen.try_emplace(text.substr(begin, end - begin), Place{out.size(), out.size()});
    Place& place = entry->second;
    if (is_new) {
      encode_piece(entry->first, out);
      place.end = out.size();
    } else {
      for (std::size_t i = place.begin; i < place.end; ++i) out.push_back(int32_t{out[i]});
    }
  }
}

void BpeEncoder::encode_piece(std::string_view piece, std::vector<int32_t>& out) const {
  struct Symbol {
    int32_t id, rank;  // rank: of the pair that this symbol and the next one are, -1 where they are none
    std::size_t previous, next;
  };
  std::vector<Symbol> symbols(piece.size());
  using Entry = std::pair<int32_t, std::size_t>;  // rank, place of the left symbol
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  const auto offer = [&](std::size_t at) {
    Symbol& symbol = symbols[at];
    symbol.rank = symbol.next < piece.size() ? rank(symbol.id, symbols[symbol.next].id) : -1;
    if (symbol.rank >= 0) queue.emplace(symbol.rank, at);
  };
  for (std::size_t i = 0; i < piece.size(); ++i)
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], -1, i - 1, i + 1};
  for (std::size_t i = 0; i < piece.size(); ++i) offer(i);
  while (!queue.empty()) {
    //@begin lowest
    const auto [lowest, at] = queue.top();
    queue.pop();
    Symbol& left = symbols[at];
    if (left.rank != lowest) continue;  // the pair that was queued is gone
    Symbol& right = symbols[left.next];
    left.id = merges_[lowest].result;
    left.next = right.next;
    right.rank = -1;
    if (left.next < piece.size()) symbols[left.next].previous = at;
    offer(at);
    if (at > 0) offer(left.previous);
    //@end lowest
  }
  for (std::size_t i = 0; i < piece.size(); i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace switchyard
