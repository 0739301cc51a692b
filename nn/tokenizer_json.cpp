// tokenizer.json, the format of Hugging Face's `tokenizers` library. Its three tokenizers here, told apart by
// "pre_tokenizer":
//   bpe    ByteLevel with GPT-2's splitting ("use_regex": true), and merges
//   bytes  ByteLevel without splitting, no merges, ids that are the bytes
//   chars  none: BPE without merges takes a text character by character
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "nn/tokenizer.h"
#include "nn/utf8.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace switchyard {
namespace {

using nlohmann::json;

constexpr std::size_t max_file_bytes = std::size_t{64} << 20;  // GPT-2's file has 1.3 MB, Gemma's 33 MB

std::string quote(std::string_view text) { return json(text).dump(); }

// For messages: a name from the file may be megabytes long.
std::string shown(std::string_view name) {
  std::size_t end = 0;
  while (end < name.size() && end < 40) end += read_utf8(name, end).length;
  return quote(name.substr(0, end)) + (end < name.size() ? "…" : "");
}

// ---- Tokens and their names in the file ----

std::string byte_level_name(std::string_view bytes) {
  std::string name;
  for (const char c : bytes) append_utf8(name, byte_to_char(static_cast<uint8_t>(c)));
  return name;
}

std::string byte_level_token(const std::string& name) {
  std::string bytes;
  for (std::size_t at = 0; at < name.size();) {
    const Utf8Char next = read_utf8(name, at);
    const int byte = char_to_byte(next.code);
    if (byte < 0) fail("token {}: U+{:04X} stands for no byte", shown(name), static_cast<uint32_t>(next.code));
    bytes += static_cast<char>(byte);
    at += next.length;
  }
  return bytes;
}

// ---- Reading ----

const json& at_key(const json& object, const char* where, const char* key, json::value_t type) {
  const auto found = object.find(key);
  check(found != object.end() && found->type() == type, "{}: needs \"{}\", {}", where, key,
        type == json::value_t::object  ? "an object"
        : type == json::value_t::array ? "an array"
                                       : "a string");
  return *found;
}

// A setting that must have its plain value, where it is given at all.
void check_plain(const json& object, const char* where, const char* key, const json& plain) {
  const auto found = object.find(key);
  check(found == object.end() || found->is_null() || *found == plain, "{}: \"{}\" is not supported: it must be {}",
        where, key, plain.dump());
}

// The "type" of the object under `key`, "" for null or nothing.
std::string type_at(const json& file, const char* key) {
  const auto found = file.find(key);
  if (found == file.end() || found->is_null()) return "";
  check(found->is_object(), "\"{}\": must be null or an object", key);
  return at_key(*found, key, "type", json::value_t::string).get<std::string>();
}

void check_keys(const json& file) {
  static const std::set<std::string> known = {"version",        "truncation", "padding",
                                              "added_tokens",   "normalizer", "pre_tokenizer",
                                              "post_processor", "decoder",    "model"};
  check(file.is_object(), "must be a JSON object");
  for (const auto& [key, value] : file.items()) check(known.count(key), "unknown key {}", shown(key));
  check_plain(file, "the file", "version", "1.0");
  for (const char* key : {"truncation", "padding", "normalizer"}) check_plain(file, "the file", key, nullptr);
  const std::string processor = type_at(file, "post_processor");
  check(processor.empty() || processor == "ByteLevel",  // ByteLevel changes offsets, not ids
        "post_processor {} is not supported: it must be null or ByteLevel", shown(processor));
}

TokenizerKind read_kind(const json& file) {
  const std::string splitting = type_at(file, "pre_tokenizer"), joining = type_at(file, "decoder");
  if (splitting.empty()) {
    check(joining == "Fuse", "without a pre_tokenizer the decoder must be Fuse (a vocabulary of characters)");
    return TokenizerKind::chars;
  }
  check(splitting == "ByteLevel" && joining == "ByteLevel",
        "pre_tokenizer {} with decoder {} is not supported: both must be ByteLevel", shown(splitting), shown(joining));
  const json& settings = file["pre_tokenizer"];
  check(settings.value("add_prefix_space", json()) == json(false), "pre_tokenizer: \"add_prefix_space\" must be false");
  const json use_regex = settings.value("use_regex", json(true));
  check(use_regex.is_boolean(), "pre_tokenizer: \"use_regex\" must be true or false");
  return use_regex ? TokenizerKind::bpe : TokenizerKind::bytes;
}

struct Vocab {
  std::vector<std::string> tokens;                 // id -> bytes, empty for the separator
  std::unordered_map<std::string, int32_t> id_of;  // bytes -> id, without the separator
  int end_id;
  std::string end_content;
};

Vocab read_vocab(const json& file, const json& model, TokenizerKind kind) {
  const json& added = at_key(file, "the file", "added_tokens", json::value_t::array);
  check(added.size() == 1 && added[0].is_object(), "added_tokens: must hold one token, the separator of documents");
  const json& names = at_key(model, "model", "vocab", json::value_t::object);
  Vocab vocab;
  vocab.end_content = at_key(added[0], "added_tokens", "content", json::value_t::string).get<std::string>();
  check(!vocab.end_content.empty(), "added_tokens: the token is empty");
  const std::size_t size = names.size() + !names.contains(vocab.end_content);
  check(size <= Tokenizer::max_vocab_size, "vocab: {} tokens; at most {} are supported", size,
        Tokenizer::max_vocab_size);
  const auto read_id = [size](const json& value, const std::string& name) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= size)
      fail("token {}: its id must be 0 to {}", shown(name), size - 1);
    return value.get<int32_t>();
  };
  vocab.end_id = read_id(added[0].value("id", json()), vocab.end_content);
  vocab.tokens.resize(size);
  for (const auto& [name, value] : names.items()) {
    const int32_t id = read_id(value, name);
    if (name == vocab.end_content) {
      check(id == vocab.end_id, "token {}: id {} in vocab, {} in added_tokens", shown(name), id, vocab.end_id);
      continue;
    }
    check(!name.empty(), "vocab: a token is empty");
    std::string token = kind == TokenizerKind::chars ? name : byte_level_token(name);
    check(kind != TokenizerKind::chars || read_utf8(token, 0).length == static_cast<int>(token.size()),
          "token {}: must be one character", shown(name));
    check(id != vocab.end_id && vocab.tokens[id].empty(), "token {}: id {} is given twice", shown(name), id);
    vocab.id_of.emplace(token, id);
    vocab.tokens[id] = std::move(token);
  }
  return vocab;
}

std::vector<Merge> read_merges(const json& model, const Vocab& vocab) {
  const json& list = at_key(model, "model", "merges", json::value_t::array);
  std::vector<Merge> merges;
  std::set<std::pair<int32_t, int32_t>> pairs;
  const auto id_of = [&](const std::string& token) {
    const auto found = vocab.id_of.find(token);
    if (found == vocab.id_of.end())
      fail("merge {}: no token {} in vocab", merges.size(), shown(byte_level_name(token)));
    return found->second;
  };
  for (const json& item : list) {
    std::string left, right;
    if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      left = item[0].get<std::string>(), right = item[1].get<std::string>();
    } else {  // "left right", as files were written until 2024
      const std::string both = item.is_string() ? item.get<std::string>() : "";
      const std::size_t space = both.find(' ');
      check(space != std::string::npos, "merge {}: must be [\"left\", \"right\"]", merges.size());
      left = both.substr(0, space), right = both.substr(space + 1);
    }
    left = byte_level_token(left), right = byte_level_token(right);
    merges.push_back({id_of(left), id_of(right), id_of(left + right)});
    const bool is_new = pairs.emplace(merges.back().left, merges.back().right).second;
    check(is_new, "merge {}: the pair was merged before", merges.size() - 1);
  }
  return merges;
}

void check_model(const json& model) {
  check_plain(model, "model", "type", "BPE");
  check_plain(model, "model", "dropout", 0.0);
  check_plain(model, "model", "continuing_subword_prefix", "");
  check_plain(model, "model", "end_of_word_suffix", "");
  check_plain(model, "model", "byte_fallback", false);
  check_plain(model, "model", "ignore_merges", false);
}

void check_bytes(const Vocab& vocab, TokenizerKind kind) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token(1, static_cast<char>(byte));
    const auto found = vocab.id_of.find(token);
    check(found != vocab.id_of.end(), "vocab: the byte 0x{:02X}, written {}, is missing", byte,
          quote(byte_level_name(token)));
    check(kind == TokenizerKind::bpe || found->second == byte,
          "without splitting (\"use_regex\": false) the ids must be the bytes: 0x{:02X} has the id {}", byte,
          found->second);
  }
  check(kind == TokenizerKind::bpe || vocab.tokens.size() == 257, "without splitting there must be 257 tokens, not {}",
        vocab.tokens.size());
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view text) {
  check(text.size() <= max_file_bytes, "more than {} MB", max_file_bytes >> 20);
  json file;
  try {
    file = json::parse(text);
  } catch (const json::parse_error& error) {
    fail("not JSON at byte {}", error.byte);
  } catch (const json::out_of_range&) {
    fail("not JSON: a number is too large for a double");
  }
  check_keys(file);
  const TokenizerKind kind = read_kind(file);
  const json& model = at_key(file, "the file", "model", json::value_t::object);
  check_model(model);
  Vocab vocab = read_vocab(file, model, kind);
  if (kind != TokenizerKind::chars) check_bytes(vocab, kind);
  std::vector<Merge> merges = read_merges(model, vocab);
  if (kind == TokenizerKind::chars) check_plain(model, "model", "unk_token", nullptr);
  check(kind == TokenizerKind::bpe || merges.empty(), "merges: only a ByteLevel tokenizer that splits may have them");
  Tokenizer tokenizer(kind, std::move(vocab.tokens), vocab.end_id, std::move(merges));
  tokenizer.end_content_ = std::move(vocab.end_content);
  return tokenizer;
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code no_size;  // a pipe has none
  const auto size = std::filesystem::file_size(path, no_size);
  check(no_size || size <= max_file_bytes, "{}: more than {} MB", path.string(), max_file_bytes >> 20);
  const std::string text = read_file(path);
  try {
    return from_json(text);
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

// ---- Writing ----

std::string Tokenizer::to_json() const {
  const bool chars = kind_ == TokenizerKind::chars;
  const auto name = [&](int id) {
    return quote(id == end_id_ ? end_content_ : chars ? tokens_[id] : byte_level_name(tokens_[id]));
  };
  const std::string byte_level =
      fmt::format(R"({{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": {}}})",
                  kind_ == TokenizerKind::bpe);
  std::string out = fmt::format(
      R"({{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {{"id": {}, "content": {}, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}
  ],
  "normalizer": null,
  "pre_tokenizer": {},
  "post_processor": null,
  "decoder": {},
  "model": {{
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {{)",
      end_id_, name(end_id_), chars ? "null" : byte_level, chars ? R"({"type": "Fuse"})" : byte_level);
  for (int id = 0; id < vocab_size(); ++id) out += fmt::format("{}\n      {}: {}", id ? "," : "", name(id), id);
  out += "\n    },\n    \"merges\": [";
  const std::vector<Merge>& merges = bpe_.merges();
  for (std::size_t m = 0; m < merges.size(); ++m)
    out += fmt::format("{}\n      [{}, {}]", m ? "," : "", name(merges[m].left), name(merges[m].right));
  return out + (merges.empty() ? "]\n  }\n}\n" : "\n    ]\n  }\n}\n");
}

void Tokenizer::save(const std::filesystem::path& path) const { write_file(path, to_json()); }

}  // namespace switchyard
