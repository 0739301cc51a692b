// Tensors in a file, in the safetensors format (github.com/huggingface/safetensors): the length N of the header (u64),
// the header (N bytes of JSON: each tensor's dtype, shape and place), the elements. All little-endian and row-major.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/file.h"
#include "tensor/safetensors_header.h"
#include "tensor/tensor.h"

namespace switchyard {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Writes the tensors as one file, by write_file(). f32, bf16, i32 and f64 are stored as F32, BF16, I32
// and F64, in the order of the reference: wider elements first, then by name. The metadata always says
// "format": "pt", without which some readers refuse a file. Error: a name twice, a name that is not UTF-8, holds a NUL
// or is "__metadata__", an undefined tensor, a header over 100,000,000 bytes, whatever write_file() says.
void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata = {});

// A safetensors file, opened for reading. The file is mapped, so opening reads the header alone. Every rule of the
// reference implementation is checked here, and in addition: no name, and no key, twice; no NUL in a name; rank at
// most 4. Every Error names the file and what is wrong with it.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const { return header_.entries.contains(name); }
  // Shape and dtype in the file ("F32", "BF16", …). Error if there is no such tensor.
  Shape shape(const std::string& name) const { return entry(name).shape; }
  std::string_view dtype(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  // A copy of the tensor. F32, F16, BF16 and F64 become `as` (f32, bf16 or f64; rounded to nearest, ties to even);
  // I32 and I64 always become i32. Error: no such tensor, another dtype, a float tensor as i32, an I64 that does not
  // fit.
  Tensor load(const std::string& name, Dtype as = Dtype::f32) const;
  // Overwrites the elements of `destination` with the tensor's, converted to its dtype. Error as
  // above; also if the shapes differ, or integers should become floats.
  void load_into(const std::string& name, const Tensor& destination) const;

 private:
  const SafetensorsEntry& entry(const std::string& name) const;

  std::filesystem::path path_;
  MappedFile file_;
  SafetensorsHeader header_;
};

}  // namespace switchyard
