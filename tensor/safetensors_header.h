// The header of a safetensors file: what it may say, and reading it with every rule checked. For safetensors.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace switchyard {

inline constexpr uint64_t max_safetensors_header = 100'000'000;  // bytes, as in the reference
inline constexpr std::string_view metadata_name = "__metadata__";

// The dtypes of the format, in the order of the reference: a file holds tensors of the last of these first.
struct StoredDtype {
  std::string_view name;
  uint64_t bits;
};
inline constexpr StoredDtype stored_dtypes[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};

constexpr int stored_dtype(std::string_view name) {
  for (size_t i = 0; i < std::size(stored_dtypes); ++i)
    if (stored_dtypes[i].name == name) return static_cast<int>(i);
  return -1;
}

constexpr int stored_dtype(Dtype dtype) {
  constexpr std::string_view names[] = {"F32", "BF16", "I32", "F64"};
  return stored_dtype(names[static_cast<int>(dtype)]);
}

// A name for a message: in quotes, control characters escaped, cut short. A hostile file may have chosen it.
std::string in_quotes(const std::string& name);

struct SafetensorsEntry {
  int dtype;  // an index of stored_dtypes
  Shape shape;
  uint64_t begin, end;  // bytes, from the end of the header
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
  std::span<const std::byte> data;  // what follows the header
};

// Reads and checks the header of a whole file. Error, naming `path` and the fault, where a rule is broken. Takes
// memory of a few times the header's size and O(n log n) time, whatever the header says.
SafetensorsHeader read_safetensors_header(std::span<const std::byte> file, const std::string& path);

}  // namespace switchyard
