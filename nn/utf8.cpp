#include "nn/utf8.h"

#include <cstdint>

namespace switchyard {

Utf8Char read_utf8(std::string_view text, std::size_t at) {
  constexpr char32_t replacement = 0xFFFD;
  const auto lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80) return {Utf8Char::valid, lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Char::invalid, replacement, 1};
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte has a narrower range after four lead bytes: it is what rules out overlong forms (E0, F0),
  // surrogates (ED) and what lies beyond U+10FFFF (F4). Table 3-7 of the Unicode Standard.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if (at + i == text.size()) return {Utf8Char::incomplete, replacement, i};
    const auto byte = static_cast<uint8_t>(text[at + i]);
    if (byte < low || byte > high) return {Utf8Char::invalid, replacement, i};
    code = code << 6 | (byte & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {Utf8Char::valid, code, length};
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0 | code >> 12);
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
    }
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

//@begin stream
std::string Utf8Stream::push(std::string_view bytes) {
  held_ += bytes;
  std::string out;
  std::size_t at = 0;
  for (Utf8Char next; at < held_.size(); at += next.length) {
    next = read_utf8(held_, at);
    if (next.status == Utf8Char::incomplete) break;
    append_utf8(out, next.code);
  }
  held_.erase(0, at);
  return out;
}
//@end stream

std::string Utf8Stream::finish() {
  std::string out;
  if (!held_.empty()) append_utf8(out, 0xFFFD);
  held_.clear();
  return out;
}

}  // namespace switchyard
