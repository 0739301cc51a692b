#include "tensor/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

namespace switchyard {
namespace {

struct F16 {
  uint16_t bits;
};

double widen(double x) { return x; }
double widen(float x) { return x; }
double widen(bf16 x) { return float(x); }
double widen(F16 x) {
  const uint32_t exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
  const double magnitude = exponent == 0    ? mantissa * 0x1p-24
                           : exponent == 31 ? std::bit_cast<float>(0x7f800000 | mantissa << 13)
                                            : std::bit_cast<float>((exponent + 112) << 23 | mantissa << 13);
  return x.bits & 0x8000 ? -magnitude : magnitude;
}

void narrow(double x, double& y) { y = x; }
void narrow(double x, float& y) { y = static_cast<float>(x); }
void narrow(double x, bf16& y) {
  const float rounded = static_cast<float>(x);
  uint32_t bits = std::bit_cast<uint32_t>(rounded);
  if (std::isnan(x)) {
    bits |= 0x400000;  // quiet, so that dropping bits cannot make an infinity of it
  } else {
    // A float half-way between two bf16 may be a double that was not: then it goes to the side it came from.
    if ((bits & 0xffff) == 0x8000 && rounded != x) bits += std::abs(x) > std::abs(double{rounded}) ? 1 : -1;
    bits += 0x7fff + (bits >> 16 & 1);
  }
  y.bits = static_cast<uint16_t>(bits >> 16);
}

template <class From, class To>
void convert(std::span<const std::byte> from, std::byte* to) {
  const size_t count = from.size() / sizeof(From);
  if constexpr (std::is_same_v<From, To>) {
    if (count > 0) std::memcpy(to, from.data(), from.size());
  } else {
    for (size_t i = 0; i < count; ++i) {
      From x;
      To y;
      std::memcpy(&x, from.data() + i * sizeof x, sizeof x);  // the file aligns nothing
      narrow(widen(x), y);
      std::memcpy(to + i * sizeof y, &y, sizeof y);
    }
  }
}

// False if the destination is no float.
template <class From>
bool convert_floats(std::span<const std::byte> from, const Tensor& to) {
  if (to.dtype() == Dtype::f32) convert<From, float>(from, to.raw());
  if (to.dtype() == Dtype::bf16) convert<From, bf16>(from, to.raw());
  if (to.dtype() == Dtype::f64) convert<From, double>(from, to.raw());
  return to.dtype() != Dtype::i32;
}

// I64 as i32; -1 or the index of the first value that does not fit.
int64_t convert_integers(std::span<const std::byte> from, int32_t* to) {
  for (size_t i = 0; i < from.size() / sizeof(int64_t); ++i) {
    int64_t x;
    std::memcpy(&x, from.data() + i * sizeof x, sizeof x);
    if (x != static_cast<int32_t>(x)) return static_cast<int64_t>(i);
    to[i] = static_cast<int32_t>(x);
  }
  return -1;
}

std::string json_text(const std::string& text, const std::string& path) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: the name or metadata {} is not UTF-8", path, in_quotes(text));
  }
}

// Error if the tensor cannot be stored under its name.
void check_storable(const NamedTensor& named, const std::string& path) {
  check(named.name != metadata_name, "{}: a tensor cannot be called {}", path, metadata_name);
  check(named.name.find('\0') == std::string::npos, "{}: tensor {}: a name cannot hold a NUL", path,
        in_quotes(named.name));
  check(named.tensor.defined(), "{}: tensor {} is undefined", path, in_quotes(named.name));
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> order;
  std::set<std::string_view> names;
  for (const NamedTensor& named : tensors) {
    check_storable(named, path.string());
    check(names.insert(named.name).second, "{}: tensor {} is given twice", path.string(), in_quotes(named.name));
    order.push_back(&named);
  }
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return std::tuple(-stored_dtype(a->tensor.dtype()), std::string_view(a->name)) <
           std::tuple(-stored_dtype(b->tensor.dtype()), std::string_view(b->name));
  });

  std::string header = fmt::format("{{\"{}\":{{", metadata_name);
  std::map<std::string, std::string> all_metadata = metadata;
  all_metadata["format"] = "pt";
  for (const auto& [key, value] : all_metadata)
    header += (header.back() == '{' ? "" : ",") + json_text(key, path.string()) + ":" + json_text(value, path.string());
  header += "}";
  uint64_t offset = 0;
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    std::string sizes = tensor.shape().text();  // "(2, 3)"
    std::erase(sizes, ' ');
    header += fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          json_text(named->name, path.string()), stored_dtypes[stored_dtype(tensor.dtype())].name,
                          sizes.substr(1, sizes.size() - 2), offset, offset + tensor.bytes());
    offset += tensor.bytes();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the elements begin at a multiple of 8
  check(header.size() <= max_safetensors_header, "{}: the header has {} bytes: must be at most {}", path.string(),
        header.size(), max_safetensors_header);

  const uint64_t length = header.size();
  std::vector<std::string_view> parts = {{reinterpret_cast<const char*>(&length), sizeof length}, header};
  std::vector<Tensor> host;  // holds the copies of tensors on another device
  for (const NamedTensor* named : order) {
    host.push_back(named->tensor.to(Device::cpu));
    parts.emplace_back(reinterpret_cast<const char*>(host.back().raw()), named->tensor.bytes());
  }
  write_file(path, parts);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(path), header_(read_safetensors_header(file_.bytes(), path.string())) {}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& entry : header_.entries) names.push_back(entry.first);
  return names;
}

std::string_view SafetensorsFile::dtype(const std::string& name) const { return stored_dtypes[entry(name).dtype].name; }

const SafetensorsEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = header_.entries.find(name);
  if (found == header_.entries.end()) fail("{}: no tensor {} in the file", path_.string(), in_quotes(name));
  return found->second;
}

Tensor SafetensorsFile::load(const std::string& name, Dtype as) const {
  const std::string_view stored = dtype(name);
  Tensor tensor(shape(name), stored == "I32" || stored == "I64" ? Dtype::i32 : as);
  load_into(name, tensor);
  return tensor;
}

void SafetensorsFile::load_into(const std::string& name, const Tensor& to) const {
  const SafetensorsEntry& from = entry(name);
  check(to.defined(), "{}: tensor {}: needs a destination", path_.string(), in_quotes(name));
  if (to.device() != Device::cpu) {
    const Tensor host(to.shape(), to.dtype());
    load_into(name, host);
    return copy_bytes(to.raw(), to.device(), host.raw(), Device::cpu, to.bytes());
  }
  check(from.shape == to.shape(), "{}: tensor {} has shape {}: must be {}", path_.string(), in_quotes(name),
        from.shape.text(), to.shape().text());
  const std::span<const std::byte> bytes = header_.data.subspan(from.begin, from.end - from.begin);
  const std::string_view stored = stored_dtypes[from.dtype].name;
  bool converted = false;
  if (stored == "F32") converted = convert_floats<float>(bytes, to);
  if (stored == "F16") converted = convert_floats<F16>(bytes, to);
  if (stored == "BF16") converted = convert_floats<bf16>(bytes, to);
  if (stored == "F64") converted = convert_floats<double>(bytes, to);
  if (stored == "I32" && to.dtype() == Dtype::i32) converted = true, convert<int32_t, int32_t>(bytes, to.raw());
  if (stored == "I64" && to.dtype() == Dtype::i32) {
    const int64_t misfit = convert_integers(bytes, to.data<int32_t>());
    check(misfit < 0, "{}: tensor {}: its element {} does not fit i32", path_.string(), in_quotes(name), misfit);
    converted = true;
  }
  check(converted, "{}: tensor {} is {}: cannot become {}", path_.string(), in_quotes(name), stored,
        switchyard::name(to.dtype()));
}

}  // namespace switchyard
