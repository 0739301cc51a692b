// Below the tokenizer: UTF-8, Unicode classes, GPT-2's pieces, learning merges and applying them.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "nn/tokenizer.h"
#include "nn/unicode.h"
#include "nn/utf8.h"

using namespace switchyard;
using Ids = std::vector<int32_t>;

namespace {

// ---- The plain versions ----

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end) {
    end = piece_end(text, begin);
    REQUIRE(end > begin);
    out.emplace_back(text.substr(begin, end - begin));
  }
  return out;
}

// GPT-2's expression, alternative by alternative, as a regular-expression engine tries them.
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::vector<std::string> pieces_by_alternatives(const std::vector<std::string>& chars) {
  const auto is = [&](std::size_t i, CharClass kind) {
    if (i >= chars.size()) return false;
    const Utf8Char c = read_utf8(chars[i], 0);
    return (c.status == Utf8Char::valid ? char_class(c.code) : CharClass::other) == kind;
  };
  const auto run = [&](std::size_t i, CharClass kind) {  // one past the run of `kind` at i
    while (is(i, kind)) ++i;
    return i;
  };
  const auto match = [&](std::size_t i) -> std::size_t {
    const std::string next = i + 1 < chars.size() ? chars[i + 1] : "", after = i + 2 < chars.size() ? chars[i + 2] : "";
    for (const std::string ending : {"s", "t", "re", "ve", "m", "ll", "d"})
      if (chars[i] == "'" && (next + after).substr(0, ending.size()) == ending) return i + 1 + ending.size();
    for (const CharClass kind : {CharClass::letter, CharClass::number, CharClass::other}) {
      const std::size_t start = chars[i] == " " && is(i + 1, kind) ? i + 1 : i;
      if (is(start, kind)) return run(start, kind);
    }
    std::size_t end = run(i, CharClass::space);
    for (std::size_t shorter = end; shorter > i; --shorter)  // \s+(?!\S): gives back until no non-space follows
      if (shorter == chars.size() || is(shorter, CharClass::space)) return shorter;
    return end;
  };
  std::vector<std::string> out;
  for (std::size_t i = 0, end; i < chars.size(); i = end) {
    end = match(i);
    out.emplace_back();
    while (i < end) out.back() += chars[i++];
  }
  return out;
}

using Pair = std::pair<int32_t, int32_t>;

struct SlowBpe {
  std::vector<std::string> tokens;  // id -> bytes
  std::vector<Pair> merges;         // in order

  // The place of `pair` in merges, merges.size() if it is none.
  std::size_t rank(Pair pair) const {
    return static_cast<std::size_t>(std::find(merges.begin(), merges.end(), pair) - merges.begin());
  }
  // The id of the token that is the two together; a new one if there is none yet.
  int32_t join(Pair pair) {
    const std::string both = tokens[pair.first] + tokens[pair.second];
    const auto found = std::find(tokens.begin(), tokens.end(), both);
    const auto id = static_cast<int32_t>(found - tokens.begin());
    if (found == tokens.end()) tokens.push_back(both);
    return id;
  }
};

std::vector<Pair> pairs_of(const Ids& ids) {
  std::vector<Pair> pairs;
  for (std::size_t i = 1; i < ids.size(); ++i) pairs.emplace_back(ids[i - 1], ids[i]);
  return pairs;
}

void merge_at(Ids& ids, std::size_t place, int32_t result) {
  ids[place] = result;
  ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(place) + 1);
}

// Counts everything anew for each merge, as Algorithm 1 of Sennrich et al. 2016 does. The map is in order and
// max_element takes the first of equals, so ties go to the smallest pair.
SlowBpe train_slowly(const std::string& text, std::size_t vocab_size) {
  const Tokenizer alphabet = Tokenizer::train_bpe("", 257);
  SlowBpe bpe;
  for (int id = 0; id < 257; ++id) bpe.tokens.emplace_back(alphabet.bytes_of(id));
  std::vector<Ids> words;
  for (const std::string& piece : pieces(text)) words.push_back(alphabet.encode(piece));
  const auto rarer = [](const auto& a, const auto& b) { return a.second < b.second; };
  while (bpe.tokens.size() < vocab_size) {
    //@begin slow-step
    std::map<Pair, int> counts;
    for (const Ids& word : words)
      for (const Pair& pair : pairs_of(word)) ++counts[pair];
    if (counts.empty()) break;
    const auto best = std::max_element(counts.begin(), counts.end(), rarer);
    const Pair pair = best->first;
    const int32_t id = bpe.join(pair);
    bpe.merges.push_back(pair);
    for (Ids& word : words)
      for (std::size_t i = 0; i + 1 < word.size(); ++i)
        if (Pair(word[i], word[i + 1]) == pair) merge_at(word, i, id);
    //@end slow-step
  }
  return bpe;
}

// The pair of the lowest rank, the leftmost first, until no pair has a rank.
Ids encode_slowly(SlowBpe bpe, std::string_view text) {
  const Tokenizer alphabet = Tokenizer::train_bpe("", 257);
  Ids out;
  for (const std::string& piece : pieces(text)) {
    Ids ids = alphabet.encode(piece);
    //@begin slow-encode
    while (true) {
      std::size_t lowest = bpe.merges.size(), place = 0;
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
        const std::size_t rank = bpe.rank({ids[i], ids[i + 1]});
        if (rank < lowest) lowest = rank, place = i;
      }
      if (lowest == bpe.merges.size()) break;
      merge_at(ids, place, bpe.join(bpe.merges[lowest]));
    }
    //@end slow-encode
    out.insert(out.end(), ids.begin(), ids.end());
  }
  return out;
}

// ---- Texts ----

// Contractions, every class of character, several kinds of space, a mark, broken UTF-8: what the rules tell apart.
std::vector<std::string> random_chars(std::mt19937& random, int size) {
  static const std::vector<std::string> some = {
      "'",  "s",  "t", "r",  "e",      "v", "m", "l",      "d",      "a", "B",    "é",
      "中", "ǅ",  "0", "7",  "٣",      "Ⅷ", "½", " ",      " ",      " ", " ",    "\n",
      "\r", "\t", " ", "　", "\u0085", "!", ".", "\u0301", "\u180E", "😀", "\xFF", "\xE4\xB8"};
  std::vector<std::string> chars;
  while (size-- > 0) chars.push_back(some[random() % some.size()]);
  return chars;
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

}  // namespace

TEST_CASE("utf8: every code point goes there and back") {
  std::string text;
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    text.clear();
    append_utf8(text, code);
    const Utf8Char c = read_utf8(text, 0);
    if (c.status != Utf8Char::valid || c.code != code || c.length != static_cast<int>(text.size())) FAIL(code);
  }
}

TEST_CASE("utf8: streams release whole characters, U+FFFD for each maximal subpart") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"aé中😀", "aé中😀"},
      // Tables 3-8 to 3-11 of the Unicode Standard 16.0, section 3.9.
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"x\xF0\x9F\x98", "x\uFFFD"},  // ends inside a character
  };
  for (const auto& [bytes, shown] : cases) {
    Utf8Stream whole, one_by_one;
    std::string out = whole.push(bytes);
    CHECK(out + whole.finish() == shown);
    out.clear();
    for (const char c : bytes) {
      const std::string part = one_by_one.push(std::string_view(&c, 1));
      for (std::size_t at = 0; at < part.size(); at += read_utf8(part, at).length)
        CHECK(read_utf8(part, at).status == Utf8Char::valid);
      out += part;
    }
    CHECK(out + one_by_one.finish() == shown);
    CHECK(one_by_one.finish().empty());  // ready for another text
  }
  Utf8Stream stream;
  CHECK(stream.push("\xE4\xB8").empty());  // nothing of 中 until its last byte is there
  CHECK(stream.push("\xAD!") == "中!");
}

TEST_CASE("unicode: the tables hold what the Unicode Character Database 16.0 counts") {
  std::map<CharClass, int> count;
  for (char32_t code = 0; code < 0x110000; ++code) ++count[char_class(code)];
  CHECK(count[CharClass::letter] == 141028);
  CHECK(count[CharClass::number] == 1911);
  CHECK(count[CharClass::space] == 25);
  for (const char32_t code : {U'a', U'Z', U'é', U'ª', U'ǅ', U'ж', U'א', U'ه', U'क', U'中', U'가', U'𝐀', U'𐐷'})
    CHECK(char_class(code) == CharClass::letter);
  for (const char32_t code : {U'0', U'9', U'٣', U'½', U'²', U'Ⅷ', U'〇', U'①', U'𝟘'})
    CHECK(char_class(code) == CharClass::number);
  for (const char32_t code :
       {9, 10, 11, 12, 13, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x3000})
    CHECK(char_class(code) == CharClass::space);
  // Not spaces: the Mongolian vowel separator (a space until Unicode 6.2), zero-width space and joiner, BOM.
  for (const char32_t code : {0x180E, 0x200B, 0x200D, 0xFEFF, 0x0, 0x1C, 0x1F, 0x301, 0x5F, 0x1F600, 0xE000, 0x10FFFF})
    CHECK(char_class(code) == CharClass::other);
}

TEST_CASE("bpe: bytes and their stand-ins") {
  std::set<char32_t> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = byte_to_char(static_cast<uint8_t>(byte));
    seen.insert(c);
    CHECK(char_to_byte(c) == byte);
    CHECK(char_class(c) != CharClass::space);
  }
  CHECK(seen.size() == 256);
  CHECK(byte_to_char(' ') == U'Ġ');
  CHECK(byte_to_char('\n') == U'Ċ');
  CHECK(byte_to_char('!') == U'!');
  CHECK(byte_to_char(0xAD) == 0x143);  // the last of the 68
  for (const char32_t code : {U' ', char32_t{0x7F}, char32_t{0xAD}, char32_t{0x144}, char32_t{0x10FFFF}})
    CHECK(char_to_byte(code) == -1);
}

TEST_CASE("bpe: pieces are GPT-2's") {
  using Pieces = std::vector<std::string>;
  CHECK(pieces("").empty());
  CHECK(pieces("Hello world") == Pieces{"Hello", " world"});
  CHECK(pieces("I've we'll it'S don''t") == Pieces{"I", "'ve", " we", "'ll", " it", "'", "S", " don", "''", "t"});
  CHECK(pieces("a  b\n\nc \n d  ") == Pieces{"a", " ", " b", "\n", "\n", "c", " \n", " d", "  "});
  CHECK(pieces("x=10.5; '12") == Pieces{"x", "=", "10", ".", "5", ";", " '", "12"});
  CHECK(pieces("a\u3000\u3000b") == Pieces{"a", "\u3000", "\u3000", "b"});
  CHECK(pieces("中文123ab") == Pieces{"中文", "123", "ab"});
  CHECK(pieces("e\u0301t") == Pieces{"e", "\u0301", "t"});  // a combining mark is no letter
  CHECK(pieces("a\xFF\xFE b") == Pieces{"a", "\xFF\xFE", " b"});
  CHECK(pieces("'") == Pieces{"'"});
  CHECK(pieces(" ") == Pieces{" "});
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    const std::vector<std::string> chars = random_chars(random, static_cast<int>(random() % 24));
    if (pieces(join(chars)) != pieces_by_alternatives(chars)) FAIL(join(chars));
  }
}

TEST_CASE("bpe: merges of a small text, by hand") {
  // " lo" twice and "lo" once, " lot" once: "lo" occurs 4 times, then " "+"lo" 3 times, then "lo"+"t" comes to nothing.
  const Tokenizer t = Tokenizer::train_bpe("lo lo lo lot", 260);
  REQUIRE(t.vocab_size() == 260);
  CHECK(t.bytes_of(257) == "lo");
  CHECK(t.bytes_of(258) == " lo");
  CHECK(t.bytes_of(259) == " lot");
  CHECK(t.encode("lo lot slot") == Ids{257, 259, t.encode(" ")[0], t.encode("s")[0], 257, t.encode("t")[0]});
}

TEST_CASE("bpe: ties go to the smallest pair of ids") {
  // Four pairs, each once. Ids follow the stand-ins' code points, so '1' < 'a' < 'b' < 'z' < ' ' (which is U+0120).
  const std::string text = "zb ab1a";  // pieces "zb", " ab", "1", "a"
  const Tokenizer t = Tokenizer::train_bpe(text, 300);
  REQUIRE(t.vocab_size() == 260);
  CHECK(t.bytes_of(257) == "ab");
  CHECK(t.bytes_of(258) == "zb");
  CHECK(t.bytes_of(259) == " ab");
}

TEST_CASE("bpe: a run of one character") {
  // Pairs overlap where they are counted (four here), not where they are merged: aa aa a. Then (aa, a) and (aa, aa) are
  // tied, and a has the smaller id.
  const Tokenizer t = Tokenizer::train_bpe("aaaaa", 300);
  CHECK(t.bytes_of(257) == "aa");
  CHECK(t.bytes_of(258) == "aaa");
  CHECK(t.bytes_of(259) == "aaaaa");
  CHECK(t.vocab_size() == 260);
  CHECK(t.encode(std::string(7, 'a')) == Ids{257, 259});  // aa aa aa a, aa aa aaa, aa aaaaa
}

TEST_CASE("bpe: learns what the plain trainer learns, encodes as the plain encoder does") {
  std::mt19937 random(2);
  for (int round = 0; round < 120; ++round) {
    std::string text, other;
    if (round % 3 == 0) {  // few letters, long words: runs, overlaps, ties
      for (int i = 0; i < 200; ++i) text += "aab cab'"[random() % (2 + round % 7)];
      for (int i = 0; i < 60; ++i) other += "aab cab'"[random() % 8];
    } else {
      text = join(random_chars(random, 300));
      other = join(random_chars(random, 100));
    }
    const std::size_t vocab_size = 257 + random() % 60;
    const Tokenizer fast = Tokenizer::train_bpe(text, static_cast<int>(vocab_size));
    const SlowBpe slow = train_slowly(text, vocab_size);
    REQUIRE(fast.vocab_size() == static_cast<int>(slow.tokens.size()));
    CHECK(slow.merges.size() + 257 == slow.tokens.size());  // no two merges ever spell the same bytes
    for (int id = 0; id < fast.vocab_size(); ++id) CHECK(fast.bytes_of(id) == slow.tokens[id]);
    CHECK(fast.encode(text) == encode_slowly(slow, text));
    CHECK(fast.encode(other) == encode_slowly(slow, other));
  }
}

TEST_CASE("bpe: merges in an order that training would not give are still applied by rank") {
  // Token 3 = "ab" by rank 1, 4 = "abc" by rank 0 from (ab, c): usable only after the later merge has made "ab".
  std::array<int32_t, 256> byte_ids{};
  byte_ids['a'] = 0, byte_ids['b'] = 1, byte_ids['c'] = 2;
  const BpeEncoder encoder(byte_ids, {{3, 2, 4}, {0, 1, 3}, {4, 3, 5}});
  Ids ids;
  encoder.encode("ababcabcab", ids);
  CHECK(ids == Ids{3, 4, 5});
}

TEST_CASE("bpe: one piece of a million letters is encoded in n log n") {
  const std::string text(1'000'000, 'a');
  const Tokenizer t = Tokenizer::train_bpe(std::string(1024, 'a'), 300);
  const Ids ids = t.encode(text);
  CHECK(t.decode(ids) == text);
  CHECK(ids.size() == 976 + 2);  // of 1,024 letters each, and a rest of 576 = 512 + 64
}
