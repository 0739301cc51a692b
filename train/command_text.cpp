// The commands that look at text: tokenize and corpus.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "train/commands.h"
#include "train/corpus/tasks.h"

namespace switchyard {
namespace {

Tokenizer open_tokenizer(const TokenizeCommand& command) {
  if (command.learn) return Tokenizer::train_bpe(*command.learn, command.vocab);
  if (command.tokenizer.empty()) return Tokenizer::bytes();
  return Tokenizer::load(fs::is_directory(command.tokenizer) ? command.tokenizer / "tokenizer.json"
                                                             : command.tokenizer);
}

// "257  a + t": the token that a merge makes, and the two that it is made of, as they stand in tokenizer.json.
void print_merges(const Tokenizer& tokenizer) {
  const nlohmann::json model = nlohmann::json::parse(tokenizer.to_json())["model"];
  if (!model.contains("merges")) return;
  for (const nlohmann::json& merge : model["merges"]) {
    const std::string left = merge[0], right = merge[1];
    fmt::print("{:>3}  {} + {}\n", model["vocab"][left + right].get<int>(), left, right);
  }
}

void print_count(size_t tokens, size_t bytes) {
  fmt::print("{} tokens for {} bytes, {:.2f} bytes per token\n", tokens, bytes,
             tokens ? double(bytes) / double(tokens) : 0);
}

// A token as people can read it: control characters and bytes that are no character in hexadecimal.
std::string shown(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 32 || byte == 127)
      text += fmt::format("\\x{:02x}", byte);
    else
      text += c;
  }
  const bool whole = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore) ==
                     nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (whole) return text;
  text.clear();
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

bool wanted(const CorpusCommand& command, const Document& document) {
  return command.domain.empty() || command.domain == name(document.domain);
}

void check_domain(const std::string& domain) {
  std::string all;
  for (int d = 0; d < domain_count; ++d) {
    if (domain == name(static_cast<Domain>(d))) return;
    all += fmt::format("{}{}", d ? ", " : "", name(static_cast<Domain>(d)));
  }
  check(domain.empty(), "--domain {}: must be one of {}", domain, all);
}

int measure(const CorpusCommand& command, const Corpus& corpus) {
  const std::array<CorpusTotals, domain_count> totals = corpus.measure(command.first, command.documents);
  CorpusTotals all;
  nlohmann::json json{{"knowledge_bits", corpus.knowledge_bits()}};
  if (!command.json)
    fmt::print("{:<14}{:>11}{:>11}{:>16}{:>16}\n", "domain", "documents", "bytes", "bits per byte", "nats per byte");
  const auto row = [&](const char* title, const CorpusTotals& t) {
    const double bits = t.bytes ? t.bits / double(t.bytes) : 0;
    json["domains"][title] = {{"documents", t.documents}, {"bytes", t.bytes}, {"bits", t.bits}};
    if (!command.json)
      fmt::print("{:<14}{:>11}{:>11}{:>16.4f}{:>16.4f}\n", title, t.documents, t.bytes, bits, bits * 0.69314718056);
  };
  for (int d = 0; d < domain_count; ++d) {
    const CorpusTotals& t = totals[static_cast<size_t>(d)];
    all.documents += t.documents, all.bytes += t.bytes, all.bits += t.bits;
    row(name(static_cast<Domain>(d)), t);
  }
  row("all", all);
  if (command.json)
    fmt::print("{}\n", json.dump());
  else
    fmt::print("\nfacts about the {} people: {:.0f} bits to know by heart\n", command.people, corpus.knowledge_bits());
  return 0;
}

int print_tasks(const CorpusCommand& command) {
  const std::string lines =
      task_lines({.seed = command.seed, .people = command.people, .held_out = command.held_out, .each = command.tasks});
  if (command.out.empty())
    fmt::print("{}", lines);
  else
    write_file(command.out, lines);
  return 0;
}

}  // namespace

int run_tokenize(const TokenizeCommand& command) {
  const Tokenizer tokenizer = open_tokenizer(command);
  if (command.merges) print_merges(tokenizer);
  const std::string text = !command.file.empty() ? read_file(command.file) : command.text.value_or("");
  if (!command.file.empty() && !command.count && !command.json) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      fmt::print("{}\n", fmt::join(tokenizer.encode(std::string_view(text).substr(at, end - at)), " "));
      at = end + 1;
    }
    return 0;
  }
  const std::vector<int32_t> ids = tokenizer.encode(text);
  if (command.json) {
    fmt::print("{}\n", nlohmann::json{{"ids", ids}, {"tokens", ids.size()}, {"bytes", text.size()}}.dump());
    return 0;
  }
  if (command.count) {
    print_count(ids.size(), text.size());
    return 0;
  }
  std::string pieces;
  for (int32_t id : ids) pieces += "|" + shown(tokenizer.bytes_of(id));
  fmt::print("pieces  {}|\nids     {}\n{} tokens for {} bytes\n", pieces, fmt::join(ids, " "), ids.size(), text.size());
  return 0;
}

int run_corpus(const CorpusCommand& command) {
  check_domain(command.domain);
  check(command.documents >= 1, "--documents {}: must be 1 or more", command.documents);
  if (command.tasks > 0) return print_tasks(command);
  const Corpus corpus({.seed = command.seed, .people = command.people});
  if (command.measure) return measure(command, corpus);
  std::string text, domains;
  for (uint64_t i = command.first, left = static_cast<uint64_t>(command.documents); left > 0; ++i) {
    const Document document = corpus.document(i);
    if (!wanted(command, document)) continue;
    --left;
    domains += nlohmann::json{{"document", i},
                              {"domain", name(document.domain)},
                              {"start", text.size()},
                              {"bytes", document.text.size()},
                              {"bits", document.bits}}
                   .dump() +
               "\n";
    text += document.text + "\n\n";
  }
  if (command.out.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  write_file(command.out, text);
  write_file(command.out.string() + ".domains.jsonl", domains);
  if (!command.json) fmt::print("{}: {} bytes in {} documents\n", command.out.string(), text.size(), command.documents);
  return 0;
}

}  // namespace switchyard
