// The three Unicode properties that cutting a text into words needs.
#pragma once

namespace switchyard {

// Letter: \p{L}. Number: \p{N} (digits of every script, Roman numerals, fractions). Space: White_Space, the 25 code
// points that \s means. Other: everything else, combining marks and unassigned code points among it. Unicode 16.0.
enum class CharClass { letter, number, space, other };
CharClass char_class(char32_t code);

}  // namespace switchyard
