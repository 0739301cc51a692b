#include "train/data.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <unordered_set>

#include "nn/utf8.h"
#include "tensor/random.h"
#include "train/conversations.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr char magic[8] = {'S', 'W', 'Y', 'T', 'O', 'K', '0', '1'};
constexpr size_t piece_bytes = size_t{1} << 20;
constexpr size_t most_training_bytes = size_t{64} << 20;  // what a BPE is trained on, at most

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The end of a piece of `text` that encodes to the same tokens alone as in its place: behind a line end that stands
// between two other characters, for there every tokenizer cuts. Without one in 16 pieces, before any character.
size_t piece_end(std::string_view text) {
  const size_t limit = std::min(text.size(), 16 * piece_bytes);
  for (size_t i = piece_bytes; i + 1 < limit; ++i)
    if (text[i] == '\n' && !is_space(text[i - 1]) && !is_space(text[i + 1]) && (text[i + 1] & 0x80) == 0) return i + 1;
  size_t end = limit;
  while (end < text.size() && end > 0 && (text[end] & 0xC0) == 0x80) --end;
  return end;
}

// Text on its way to the tokenizer.
struct Part {
  std::string_view text;
  bool ends;           // a separator follows
  bool opens = false;  // a conversation begins
  bool learnt = true;
};

bool each_part(const Conversation& conversation, const std::function<bool(const Part&)>& f) {
  bool opens = true;
  for (const Piece& piece : pieces_of(conversation)) {
    if (!f({piece.text, piece.answer, opens, piece.answer})) return false;
    opens = false;
  }
  return true;
}

// Calls f with every document's text, whole for the built-in corpus, in pieces for files, until f returns false.
void each_part(const Source& source, const TrainConfig& config, const std::function<bool(const Part&)>& f) {
  if (source.built_in()) {
    const Corpus corpus = built_in_corpus(config);
    int64_t bytes = 0;
    for (uint64_t i = 0; bytes < config.corpus_bytes; ++i) {
      const std::string text = corpus.document(i).text;
      bytes += static_cast<int64_t>(text.size());
      if (!f({text, true})) return;
    }
    return;
  }
  for (const fs::path& path : source.files) {
    if (source.conversations) {
      bool wanted = true;
      each_conversation(path, [&](const Conversation& c) { return wanted = each_part(c, f); });
      if (!wanted) return;
      continue;
    }
    const MappedFile file(path);
    for (std::string_view rest = text_of(file); !rest.empty();) {
      const size_t n = piece_end(rest);
      if (!f({rest.substr(0, n), n == rest.size()})) return;
      rest.remove_prefix(n);
    }
  }
}

// Every character that occurs, once: a tokenizer of characters needs no more of the text.
std::string distinct_characters(const Source& source, const TrainConfig& config) {
  std::string distinct;
  std::unordered_set<char32_t> seen;
  each_part(source, config, [&](const Part& part) {
    for (size_t at = 0; at < part.text.size();) {
      const Utf8Char next = read_utf8(part.text, at);
      check(next.status == Utf8Char::valid, "--tokenizer chars: the text is not UTF-8; use bytes or bpe");
      if (seen.insert(next.code).second) append_utf8(distinct, next.code);
      at += static_cast<size_t>(next.length);
    }
    return true;
  });
  return distinct;
}

Tokenizer trained_tokenizer(const Source& source, const TrainConfig& config) {
  if (config.tokenizer == TokenizerKind::bytes) return Tokenizer::bytes();
  if (config.tokenizer == TokenizerKind::chars) return Tokenizer::train_chars(distinct_characters(source, config));
  std::string text;
  each_part(source, config, [&](const Part& part) {
    text += part.text;
    text += '\n';
    return text.size() < most_training_bytes;
  });
  return Tokenizer::train_bpe(text, config.merged_vocab);
}

Tokenizer find_tokenizer(const Source& source, const TrainConfig& config, const fs::path& dir) {
  const fs::path path = dir / "tokenizer.json";
  if (fs::exists(path)) return Tokenizer::load(path);
  Tokenizer tokenizer = trained_tokenizer(source, config);
  tokenizer.save(path);
  return tokenizer;
}

// What a token file was made from; another text or tokenizer makes another one.
std::string fingerprint(const Source& source, const TrainConfig& config, const Tokenizer& tokenizer) {
  std::string made_from = source.conversations ? "conversations\n" : "";
  if (source.built_in())
    made_from = fmt::format("corpus {} {} {} {}", config.corpus_bytes, config.people, config.corpus_seed,
                            config.domain ? name(*config.domain) : "");
  for (const fs::path& file : source.files) {
    std::error_code failed;
    const auto size = fs::file_size(file, failed);
    check(!failed, "{}: {}", file.string(), failed.message());
    made_from += fmt::format("{} {} {}\n", fs::absolute(file).string(), size,
                             fs::last_write_time(file).time_since_epoch().count());
  }
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (char c : made_from + tokenizer.to_json()) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return fmt::format("{:016x}", hash);
}

// Writes the ids of all texts as they come; memory holds one piece at a time.
void write_tokens(const fs::path& path, const Source& source, const TrainConfig& config, const Tokenizer& tokenizer) {
  const fs::path partial = path.string() + ".partial";
  std::FILE* out = std::fopen(partial.c_str(), "wb");
  check(out != nullptr, "{}: cannot be written", partial.string());
  const bool wide = source.conversations || tokenizer.vocab_size() > 65536;
  const uint64_t kind = wide;
  bool good = std::fwrite(magic, 8, 1, out) == 1 && std::fwrite(&kind, 8, 1, out) == 1;
  std::vector<int32_t> ids;
  if (!source.conversations) ids.push_back(tokenizer.end_id());  // every document stands between two separators
  std::vector<uint16_t> narrow;
  const auto write = [&](const Part& part) {
    tokenizer.encode(part.text, ids);
    if (part.ends) ids.push_back(tokenizer.end_id());
    //@begin marks
    if (!part.learnt)
      for (int32_t& id : ids) id |= TokenFile::asked;
    if (part.opens) ids.front() |= TokenFile::opens;
    //@end marks
    narrow.assign(ids.begin(), ids.end());
    const void* data = wide ? static_cast<const void*>(ids.data()) : narrow.data();
    good = good && std::fwrite(data, wide ? 4 : 2, ids.size(), out) == ids.size();
    ids.clear();
    return good;
  };
  try {
    each_part(source, config, write);
  } catch (...) {
    std::fclose(out);
    fs::remove(partial);
    throw;
  }
  good = std::fclose(out) == 0 && good;
  if (!good) fs::remove(partial);
  check(good, "{}: the disk is full or the file cannot be written", path.string());
  fs::rename(partial, path);
}

// The name in `dir` of the source's tokens, which are written unless they are there.
std::string find_tokens(const Source& source, const TrainConfig& config, const Tokenizer& tokenizer,
                        const fs::path& dir) {
  if (!source.tokens.empty() && fs::exists(dir / source.tokens)) return source.tokens;
  const std::string made_from = fingerprint(source, config, tokenizer), name = "tokens-" + made_from + ".bin";
  check(source.tokens.empty() || source.tokens == name,
        "{}: missing, and the text that it was made from has changed since; put one of them back, or start a new run",
        (dir / source.tokens).string());
  if (fs::exists(dir / name)) return name;
  write_tokens(dir / name, source, config, tokenizer);
  if (fingerprint(source, config, tokenizer) == made_from) return name;
  fs::remove(dir / name);
  fail("the text has changed while it was read; start again once it is complete");
}

}  // namespace

TokenFile::TokenFile(const fs::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  check(bytes.size() >= 16 && std::memcmp(bytes.data(), magic, 8) == 0, "{}: not a file of tokens", path.string());
  wide_ = bytes[8] != std::byte{0};
  ids_ = bytes.data() + 16;
  count_ = static_cast<int64_t>((bytes.size() - 16) / (wide_ ? 4 : 2));
}

Corpus built_in_corpus(const TrainConfig& config) {
  CorpusConfig corpus{.seed = config.corpus_seed, .people = config.people};
  if (config.domain) {
    corpus.weights.fill(0);
    corpus.weights[static_cast<size_t>(*config.domain)] = 1;
  }
  return Corpus(corpus);
}

Dataset::Dataset(const Source& source, const TrainConfig& config, int64_t context, const fs::path& dir)
    : tokenizer_(find_tokenizer(source, config, dir)),
      tokens_name_(find_tokens(source, config, tokenizer_, dir)),
      tokens_(dir / tokens_name_),
      conversations_(source.conversations) {
  split_ = tokens_.count() - static_cast<int64_t>(double(tokens_.count()) * config.validation);
  if (conversations_) {
    find_conversations(context, config.validation);
    return;
  }
  check(config.validation == 1 || split_ > context + 1, "text of {} training tokens: needs more than --context {}",
        split_, context);
  check(config.validation == 0 || config.validation == 1 || validation_tokens() > context + 1,
        "text of {} validation tokens: needs more than --context {}; use a longer text or --validation 0",
        validation_tokens(), context);
  if (source.built_in())
    for (int64_t i = 0; i + context < split_; ++i)
      if (tokens_[i] == tokenizer_.end_id()) documents_.push_back(i);
}

// The validation part begins at a conversation, and its windows are filled with whole ones.
void Dataset::find_conversations(int64_t context, double validation) {
  int64_t number = 0, begin = 0, split = tokens_.count();
  const auto add = [&](int64_t end) {
    check(end - begin <= context + 1,
          "conversation {}: {} tokens, and --context {} holds {}; raise it, or leave the conversation out", number,
          end - begin, context, context + 1);
    if (end <= split_) {
      documents_.push_back(begin);
      return;
    }
    split = std::min(split, begin);
    if (held_out_.empty() || end - held_out_.back().start > context + 1)
      held_out_.push_back({begin, end});
    else
      held_out_.back().end = end;
  };
  for (int64_t i = 0; i < tokens_.count(); ++i)
    if (tokens_.opening(i)) {
      if (number++ > 0) add(i);
      begin = i;
    }
  if (number > 0) add(tokens_.count());
  split_ = split;
  check(validation == 1 || !documents_.empty(), "{} conversations: none is left for training", number);
  check(validation == 0 || !held_out_.empty(), "{} conversations: none is left for validation; use --validation 0",
        number);
}

std::vector<int64_t> Dataset::occurrences() const {
  std::vector<int64_t> count(static_cast<size_t>(tokenizer_.vocab_size()), 0);
  for (int64_t i = 0; i < split_; ++i) ++count[static_cast<size_t>(tokens_[i])];
  return count;
}

double Dataset::bytes_per_token() const {
  int64_t bytes = 0, tokens = 0;
  for (int64_t i = validation_tokens() > 0 ? split_ : 0; i < tokens_.count(); ++i) {
    if (!tokens_.learnt(i)) continue;
    bytes += static_cast<int64_t>(tokenizer_.bytes_of(tokens_[i]).size());
    ++tokens;
  }
  return double(bytes) / double(tokens);
}

Batch Dataset::windows(const std::vector<Window>& rows, int64_t T) const {
  const auto B = static_cast<int64_t>(rows.size());
  Batch batch{Tensor({B, T}, Dtype::i32), Tensor({B, T}, Dtype::i32)};
  int32_t *token = batch.tokens.data<int32_t>(), *target = batch.targets.data<int32_t>();
  for (const auto [start, end] : rows)
    for (int64_t t = 0; t < T; ++t, ++token, ++target) {
      //@begin targets
      const int64_t at = start + t;
      *token = at < end ? tokens_[at] : tokenizer_.end_id();
      const bool learnt = at + 1 < end && tokens_.learnt(at + 1);
      *target = learnt ? tokens_[at + 1] : -1;
      //@end targets
      batch.learnt += learnt;
    }
  return batch;
}

Batch Dataset::batch(int64_t pass, int64_t B, int64_t T, uint64_t seed) const {
  //@begin draw
  Random random{{seed, 0xDA7A}, static_cast<uint64_t>(pass * B)};
  //@end draw
  std::vector<Window> rows(static_cast<size_t>(B));
  for (Window& row : rows) {
    const int64_t start = documents_.empty()
                              ? random.below(split_ - T)
                              : documents_[static_cast<size_t>(random.below(int64_t(documents_.size())))];
    row = {start, split_};
  }
  return windows(rows, T);
}

int64_t Dataset::validation_windows(int64_t T) const {
  return conversations_ ? static_cast<int64_t>(held_out_.size()) : (validation_tokens() + T - 2) / T;
}

Batch Dataset::validation_batch(int64_t first_window, int64_t B, int64_t T) const {
  std::vector<Window> rows;
  for (int64_t w = first_window; w < first_window + B; ++w) {
    const int64_t end = tokens_.count();
    if (!conversations_)
      rows.push_back({split_ + w * T, end});
    else
      rows.push_back(w < validation_windows(T) ? held_out_[static_cast<size_t>(w)] : Window{end, end});
  }
  return windows(rows, T);
}

std::string Dataset::prompt(int64_t i) const {
  std::vector<int64_t> openings;
  for (int64_t at = split_; at < tokens_.count(); ++at)
    if (tokens_.opening(at)) openings.push_back(at);
  if (openings.empty()) return {};
  std::vector<int32_t> ids;
  for (int64_t at = openings[static_cast<size_t>(i) % openings.size()]; !tokens_.learnt(at); ++at)
    ids.push_back(tokens_[at]);
  return tokenizer_.decode(ids);
}

}  // namespace switchyard
