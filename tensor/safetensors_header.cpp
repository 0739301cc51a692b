#include "tensor/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>
#include <vector>

namespace switchyard {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the file is little-endian and is copied as it is");

// Receives the header's JSON token by token and fills the two maps. No tree of it is ever built: a hostile header
// costs a small multiple of its own size, and no stack however deep it is nested.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  HeaderReader(std::string file, std::map<std::string, SafetensorsEntry>& entries,
               std::map<std::string, std::string>& metadata)
      : file_(std::move(file)), entries_(entries), metadata_(metadata) {}

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a number with a sign"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number that is no integer"); }
  bool binary(binary_t&) override { return scalar("binary"); }

  bool number_unsigned(number_unsigned_t number) override {
    if (place_ != Place::array) return scalar("a number");
    if (field_ == shape && rank_ == Shape::max_rank) wrong("has more than {} axes", int{Shape::max_rank});
    if (field_ == offsets && offset_count_ == 2) wrong("must be 2 numbers, has more");
    (field_ == shape ? sizes_[rank_++] : offsets_[offset_count_++]) = number;
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      metadata_[key_] = std::move(text);
      return true;
    }
    if (place_ != Place::entry || field_ != dtype) return scalar("a string");
    entry_.dtype = stored_dtype(text);
    if (entry_.dtype < 0) wrong("{} is not in the format", in_quotes(text));
    return true;
  }

  bool key(string_t& key) override {
    if (ignored_ > 0) return true;
    key_ = std::move(key);
    if (place_ == Place::tensors) {
      name_ = key_;
      if (name_ == metadata_name ? std::exchange(metadata_seen_, true) : entries_.contains(name_))
        wrong("the name stands twice");
      if (name_.find('\0') != std::string::npos) wrong("a name cannot hold a NUL");
    } else if (place_ == Place::metadata) {
      if (metadata_.contains(key_)) wrong("the key stands twice");
      if (metadata_.size() == max_metadata) wrong("at most {} keys are read", max_metadata);
    } else {
      field_ = static_cast<Field>(std::find(field_names.begin(), field_names.end(), key_) - field_names.begin());
      if (field_ != unknown && std::exchange(seen_[field_], true)) wrong("the key stands twice");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (ignoring()) return ignore_nested();
    if (place_ != Place::top && place_ != Place::tensors) return unexpected("an object");
    const bool is_entry = place_ == Place::tensors && name_ != metadata_name;
    place_ = place_ == Place::top ? Place::tensors : is_entry ? Place::entry : Place::metadata;
    seen_ = {};
    return true;
  }

  bool end_object() override {
    if (ignored_ > 0) return --ignored_, true;
    if (place_ == Place::entry) finish_entry();
    place_ = place_ == Place::tensors ? Place::top : Place::tensors;
    return true;
  }

  bool start_array(std::size_t) override {
    if (ignoring()) return ignore_nested();
    if (place_ != Place::entry || field_ == dtype) return unexpected("an array");
    place_ = Place::array;
    (field_ == shape ? rank_ : offset_count_) = 0;
    return true;
  }

  bool end_array() override {
    if (ignored_ > 0) return --ignored_, true;
    if (field_ == offsets && offset_count_ != 2) wrong("must be 2 numbers, has {}", offset_count_);
    place_ = Place::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    fail("{}: the header is not JSON in UTF-8: its byte {} is out of place", file_, position);
  }

 private:
  enum class Place { top, tensors, metadata, entry, array };  // what the next token stands in
  enum Field { dtype, shape, offsets, unknown };
  static constexpr std::array<std::string_view, 3> field_names = {"dtype", "shape", "data_offsets"};
  static constexpr int max_nesting = 128;          // as in the reference
  static constexpr size_t max_metadata = 100'000;  // a key takes a dozen times its bytes in memory

  // What the current token belongs to, for messages.
  std::string where() const {
    if (place_ == Place::top) return "the header";
    if (place_ == Place::metadata) return fmt::format("{} {}", metadata_name, in_quotes(key_));
    const std::string tensor = name_ == metadata_name ? name_ : "tensor " + in_quotes(name_);
    if (place_ == Place::tensors || field_ == unknown) return tensor;
    return fmt::format("{}: {}", tensor, field_names[field_]);
  }
  template <class... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> message, Args&&... args) const {
    fail("{}: {}: {}", file_, where(), fmt::format(message, std::forward<Args>(args)...));
  }
  [[noreturn]] bool unexpected(std::string_view found) const {
    if (place_ == Place::array) wrong("holds {}: must hold integers of 0 or more", found);
    const bool text = place_ == Place::metadata || (place_ == Place::entry && field_ == dtype);
    wrong("is {}: must be {}", found, text ? "a string" : place_ == Place::entry ? "an array" : "an object");
  }

  // The reference ignores fields that it does not know, whatever they hold.
  bool ignoring() const { return place_ == Place::entry && field_ == unknown; }
  bool scalar(std::string_view found) const { return ignoring() || unexpected(found); }
  bool ignore_nested() {
    if (++ignored_ > max_nesting) wrong("nested more than {} deep", max_nesting);
    return true;
  }

  void finish_entry() {
    field_ = unknown;  // what follows is about the tensor as a whole
    for (size_t i = 0; i < seen_.size(); ++i)
      if (!seen_[i]) wrong("has no {}", field_names[i]);
    uint64_t bits = stored_dtypes[entry_.dtype].bits;
    bool fits = true, empty = false;
    for (int axis = 0; axis < rank_; ++axis) {  // an axis of 0 excuses no other, whose products are still computed
      empty |= sizes_[axis] == 0;
      fits = fits && !__builtin_mul_overflow(bits, std::max<uint64_t>(sizes_[axis], 1), &bits);
    }
    if (!fits) wrong("shape {} of {} is more than 2^64 bits", shape_text(), stored_dtypes[entry_.dtype].name);
    if (empty) bits = 0;
    if (bits % 8 != 0)
      wrong("shape {} of {} is no whole number of bytes", shape_text(), stored_dtypes[entry_.dtype].name);
    std::tie(entry_.begin, entry_.end) = std::tie(offsets_[0], offsets_[1]);
    if (entry_.end < entry_.begin || entry_.end - entry_.begin != bits / 8)
      wrong("shape {} of {} needs {} bytes, data_offsets are [{}, {}]", shape_text(), stored_dtypes[entry_.dtype].name,
            bits / 8, entry_.begin, entry_.end);
    const auto size = [&](int axis) { return static_cast<int64_t>(sizes_[axis]); };  // fits: 4 bits at least, each
    entry_.shape = rank_ == 0   ? Shape{}
                   : rank_ == 1 ? Shape{size(0)}
                   : rank_ == 2 ? Shape{size(0), size(1)}
                   : rank_ == 3 ? Shape{size(0), size(1), size(2)}
                                : Shape{size(0), size(1), size(2), size(3)};
    entries_.emplace(std::move(name_), entry_);
  }
  std::string shape_text() const {
    return fmt::format("[{}]", fmt::join(sizes_.begin(), sizes_.begin() + rank_, ", "));
  }

  std::string file_;
  std::map<std::string, SafetensorsEntry>& entries_;
  std::map<std::string, std::string>& metadata_;

  Place place_ = Place::top;
  bool metadata_seen_ = false;
  std::string name_, key_;  // the last key among the tensors, and the last key
  Field field_ = unknown;   // the last key in an entry
  std::array<bool, 3> seen_{};
  int ignored_ = 0;  // brackets open inside an unknown field
  int rank_ = 0, offset_count_ = 0;
  std::array<uint64_t, Shape::max_rank> sizes_{};
  std::array<uint64_t, 2> offsets_{};
  SafetensorsEntry entry_{};
};

// The header of a file, once the three rules that come before it hold.
std::string_view header_of(std::span<const std::byte> file, const std::string& path) {
  uint64_t length = 0;
  check(file.size() >= sizeof length, "{}: {} bytes are too few for a safetensors file: must be 8 at least", path,
        file.size());
  std::memcpy(&length, file.data(), sizeof length);
  check(length <= max_safetensors_header, "{}: the header's length is {}: must be at most {}", path, length,
        max_safetensors_header);
  check(length <= file.size() - sizeof length, "{}: the header's length is {}, but only {} bytes follow", path, length,
        file.size() - sizeof length);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof length, length);
  // Two things that the JSON parser would let pass: a byte-order mark before the text, and anything after a NUL.
  const size_t first = header.find_first_not_of(" \t\r\n");
  check(first != std::string_view::npos && header[first] == '{', "{}: the header does not begin with {{", path);
  check(header.find('\0') == std::string_view::npos, "{}: the header holds a NUL", path);
  return header;
}

// The tensors must fill the data from its first byte to its last, without holes and without overlap.
void check_places(const std::map<std::string, SafetensorsEntry>& entries, uint64_t data_bytes,
                  const std::string& path) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(entries.size());
  for (const auto& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return std::tie(a->second.begin, a->second.end) < std::tie(b->second.begin, b->second.end);
  });
  uint64_t next = 0;
  for (const auto* entry : order) {
    if (entry->second.begin != next)
      fail("{}: tensor {}: data_offsets begin at {}: must be {}, where the tensor before it ends", path,
           in_quotes(entry->first), entry->second.begin, next);
    next = entry->second.end;
  }
  check(next == data_bytes, "{}: {} bytes follow the header: must be {} for its tensors", path, data_bytes, next);
}

}  // namespace

// A name for a message: in quotes, control characters escaped, cut short. A hostile file may have chosen it.
std::string in_quotes(const std::string& name) {
  constexpr size_t longest = 100;
  const std::string text = json(name.substr(0, longest)).dump(-1, ' ', true, json::error_handler_t::replace);
  return name.size() <= longest ? text : text + "...";
}

SafetensorsHeader read_safetensors_header(std::span<const std::byte> file, const std::string& path) {
  SafetensorsHeader header;
  const std::string_view text = header_of(file, path);
  HeaderReader reader(path, header.entries, header.metadata);
  json::sax_parse(text.data(), text.data() + text.size(), &reader);
  header.data = file.subspan(sizeof(uint64_t) + text.size());
  check_places(header.entries, header.data.size(), path);
  return header;
}

}  // namespace switchyard
