// One exception type for everything a user can get wrong. Programs print `error: <message>` and exit with code 2.
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace switchyard {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error. The message is one line that says what was wrong, where, and what would be right.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) {
  throw Error(fmt::format(message, std::forward<Args>(args)...));
}

// Its arguments are computed even where all is well: where that is a text, and often, write `if (…) fail(…)`.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(message, std::forward<Args>(args)...);
}

}  // namespace switchyard
