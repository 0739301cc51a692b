#include "moe/config_io.h"

#include <algorithm>
#include <numeric>

namespace switchyard {

std::string json_key(std::string_view name) {
  std::string key(name);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

std::string value_text(const nlohmann::json& value) {
  if (value.is_null()) return "none";
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  // What is not UTF-8 must not make an error of its own; what is long does not fit on the line of one.
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) return fmt::format("a JSON {} of {} bytes", value.type_name(), text.size());
  const bool plain = value.is_string() && text.find('\\') == std::string::npos;
  return plain ? text.substr(1, text.size() - 2) : text;  // quotes only where something is escaped
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t least = SIZE_MAX;
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);  // distances from what is read of `word` to each prefix
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i + 1);
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t replaced = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
      }
    }
    if (row.back() < least) least = row.back(), best = candidate;
  }
  return best;
}

nlohmann::json fields_to_json(std::span<const Field> fields) {
  nlohmann::json object = nlohmann::json::object();
  for (const Field& field : fields) object[json_key(field.name)] = field.get();
  return object;
}

void fields_from_json(const nlohmann::json& object, std::span<const Field> fields, const std::string& where) {
  check(object.is_object(), "{}: a JSON {}: must be an object", where, object.type_name());
  std::vector<std::string> keys;
  for (const Field& field : fields) keys.push_back(json_key(field.name));
  for (const auto& [key, value] : object.items()) {
    const auto found = std::find(keys.begin(), keys.end(), key);
    check(found != keys.end(), "{}: {}: no such key; did you mean {}?", where, value_text(key), nearest(key, keys));
    fields[static_cast<size_t>(found - keys.begin())].set(value, fmt::format("{}: {} ", where, key));
  }
}

std::string fields_to_text(std::span<const Field> fields) {
  size_t width = 0;
  for (const Field& field : fields) width = std::max(width, field.name.size());
  std::string text;
  for (const Field& field : fields) text += fmt::format("{:{}}  {}\n", field.name, width, value_text(field.get()));
  return text;
}

std::string config_io::alternatives(std::span<const std::string_view> names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 == names.size() ? " or " : ", ", names[i]);
  return text;
}

}  // namespace switchyard
