// UTF-8, read strictly (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace switchyard {

// What stands at one place of a text.
struct Utf8Char {
  enum Status { valid, invalid, incomplete } status;
  char32_t code;  // the code point where valid, else U+FFFD
  int length;  // bytes, 1 to 4. Not valid: the longest beginning of a character (at least 1), to be shown as one U+FFFD
};

// Reads the character at byte `at` < text.size(). `incomplete`: the text ends inside what may still become a character.
Utf8Char read_utf8(std::string_view text, std::size_t at);

// Appends the code point, which must be a Unicode scalar value.
void append_utf8(std::string& out, char32_t code);

// Tokens are bytes and may end inside a character. The stream releases whole characters only, and U+FFFD for each
// stretch of bytes that is none (the Unicode Standard's "maximal subparts", which browsers and Python use too).
class Utf8Stream {
 public:
  // Takes the next bytes; returns the characters that are complete now.
  std::string push(std::string_view bytes);
  // Ends the stream: U+FFFD if a character was left unfinished, else nothing. The stream is ready for another text.
  std::string finish();

 private:
  std::string held_;  // the beginning of a character, at most 3 bytes
};

}  // namespace switchyard
