#include "train/sweep.h"

#include <algorithm>
#include <chrono>

#include "moe/config_io.h"
#include "tensor/directory.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

const Variant& find(const std::vector<Variant>& variants, const std::string& label) {
  const auto same = [&](const Variant& v) { return v.label == label; };
  const auto found = std::find_if(variants.begin(), variants.end(), same);
  check(found != variants.end(), "variant {}: no such one", label);
  return *found;
}

// A number that another text has not.
std::string text_number(const Source& source) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  const auto add = [&](const auto& bytes) {
    for (const auto byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 1099511628211u;
  };
  for (const fs::path& file : source.files) add(fs::absolute(file).string()), add(MappedFile(file).bytes());
  return fmt::format("{:016x}", hash);
}

// All that decides a run's numbers. A finished run is read only if this is what it was made with.
nlohmann::json made_with(const std::vector<Variant>& all, const Variant& v, uint64_t seed, int version) {
  RunConfig config = v.config;
  config.train.seed = seed;
  nlohmann::json key{{"variant", v.label}, {"model", to_json(config.model)}, {"train", to_json(config.train)}};
  if (!config.source.built_in()) key["text"] = text_number(config.source);
  if (version > 1) key["version"] = version;
  if (!v.after.empty()) key["after"] = made_with(all, find(all, v.after), seed, version);
  return key;
}

class Runner {
 public:
  Runner(const Sweep& sweep, const std::atomic<bool>& stop) : sweep_(sweep), stop_(stop) {}

  std::optional<Results> run() {
    fs::create_directories(sweep_.out);
    const DirectoryLock lock(sweep_.out);
    for (const Variant& v : sweep_.variants)
      for (uint64_t seed : sweep_.seeds) look_at(v, seed);
    start_ = Clock::now();
    Results results;
    for (const Variant& v : sweep_.variants) results.variants.push_back(v.label);
    // Seed by seed, so that what else the machine does falls on all variants alike.
    for (uint64_t seed : sweep_.seeds)
      for (const Variant& v : sweep_.variants) {
        ++number_;
        const std::optional<Outcome> outcome = one(v, seed);
        if (!outcome) return std::nullopt;
        results.outcomes.push_back(*outcome);
      }
    return results;
  }

 private:
  fs::path folder(const Variant& v, uint64_t seed) const {
    return sweep_.out / fmt::format("{}-{}", slug(v.label), seed);
  }
  std::string key(const Variant& v, uint64_t seed) const {
    return made_with(sweep_.variants, v, seed, sweep_.version).dump(1) + "\n";
  }
  bool is_known(const fs::path& out) const { return fs::exists(out / "made_with.json"); }
  bool is_same(const fs::path& out, const Variant& v, uint64_t seed) const {
    return is_known(out) && read_file(out / "made_with.json") == key(v, seed);
  }
  bool is_done(const fs::path& out, const Variant& v, uint64_t seed) const {
    return is_same(out, v, seed) && fs::exists(out / "outcome.json");
  }

  // Finds what would go wrong later, and makes the texts.
  void look_at(const Variant& v, uint64_t seed) {
    const fs::path out = folder(v, seed);
    if (is_done(out, v, seed)) return;
    check(is_known(out) || !fs::exists(out / "train.json"),
          "{}: holds a run that is not of this sweep; choose another --out", out.string());
    ++left_;
    try {
      make_text(v);
    } catch (const Error& error) {
      fail("{}: {}", v.label, error.what());
    }
  }

  std::optional<Outcome> one(const Variant& v, uint64_t seed) {
    const fs::path out = folder(v, seed);
    if (is_done(out, v, seed)) return outcome_from(nlohmann::json::parse(read_file(out / "outcome.json")));
    if (stop_) return std::nullopt;
    if (is_known(out) && !is_same(out, v, seed)) {
      say("{}: made with another configuration; doing it again\n", out.string());
      // Away in one step: a kill must not leave an outcome without what it was made with.
      const fs::path old = out.string() + ".old";
      fs::remove_all(old);
      fs::rename(out, old);
      fs::remove_all(old);
    }
    fs::create_directories(out);
    write_file(out / "made_with.json", key(v, seed));
    announce(v, seed);
    const auto began = Clock::now();
    std::optional<Outcome> outcome = train(v, seed, out);
    if (!outcome) return std::nullopt;
    write_file(out / "outcome.json", to_json(*outcome).dump() + "\n");
    // What only training needs, most of the folder.
    for (const char* name : {"optimizer.safetensors", "previous", "spike"}) fs::remove_all(out / name);
    for (const fs::directory_entry& file : fs::directory_iterator(out))
      if (file.path().extension() == ".bin") fs::remove(file.path());
    ++trained_, --left_;
    const auto loss = outcome->number.find("loss");
    say(" {}, {:.1f} s\n", outcome->diverged() ? "diverged" : fmt::format("loss {:.4f}", loss->second), since(began));
    return outcome;
  }

  // nullopt: stopped, with all that is needed to go on saved.
  std::optional<Outcome> train(const Variant& v, uint64_t seed, const fs::path& out) {
    finish_update(out);
    const bool resume = fs::exists(out / "train.json");
    RunConfig config = v.config;
    config.out = out, config.train.seed = seed;
    if (!resume)
      for (const fs::directory_entry& file : fs::directory_iterator(make_text(v)))
        fs::copy(file.path(), out / file.path().filename(), fs::copy_options::overwrite_existing);
    if (!v.after.empty()) config = v.prepare(std::move(config), folder(find(sweep_.variants, v.after), seed));
    Trainer trainer(config, resume);
    try {
      Report report(out, trainer.steps_done(), config.train.steps, trainer.data().bytes_per_token(), 0, true);
      trainer.run(stop_, report);
    } catch (const Diverged&) {
      Outcome outcome = diverged(config, v);
      outcome.seed = seed;
      return outcome;
    }
    if (trainer.steps_done() < config.train.steps) {
      say(" stopped and saved at step {}; the same command goes on\n", trainer.steps_done());
      return std::nullopt;
    }
    Outcome outcome = outcome_of(trainer, v);
    outcome.seed = seed;  // not prepare()'s
    if (sweep_.measure) sweep_.measure(trainer, v, outcome);
    return outcome;
  }

  // The tokenizer and the tokens of a text are made once for all runs that read it, in the folder that this returns. A
  // run that needs another takes that one's tokenizer.
  fs::path make_text(const Variant& v) const {
    const Variant* first = &v;
    while (!first->after.empty()) first = &find(sweep_.variants, first->after);
    const Source& source = first->config.source;
    const TrainConfig& c = first->config.train;
    const std::string from = source.built_in() ? fmt::format("{}-{}-{}-{}", c.corpus_bytes, c.people,
                                                             c.domain ? name(*c.domain) : "all", c.corpus_seed)
                                               : text_number(source);
    const fs::path text = sweep_.out / fmt::format("text-{}-{}-{}", name(c.tokenizer), c.merged_vocab, from);
    fs::create_directories(text);
    Dataset(source, c, v.config.model.context, text);
    return text;
  }

  void announce(const Variant& v, uint64_t seed) const {
    const size_t runs = sweep_.variants.size() * sweep_.seeds.size();
    const double each = trained_ > 0 ? since(start_) / double(trained_) : sweep_.seconds / double(runs);
    const auto seconds = static_cast<int64_t>(each * double(left_));
    const std::string left = each > 0 ? fmt::format(", {}:{:02} left", seconds / 60, seconds % 60) : "";
    say("{}: run {} of {}{}: {}, seed {} …", sweep_.name, number_, runs, left, v.label, seed);
  }

  template <class... Args>
  void say(fmt::format_string<Args...> text, Args&&... args) const {
    if (sweep_.quiet) return;
    fmt::print(stderr, text, std::forward<Args>(args)...);
    std::fflush(stderr);
  }

  const Sweep& sweep_;
  const std::atomic<bool>& stop_;
  Clock::time_point start_;
  size_t number_ = 0, trained_ = 0, left_ = 0;
};

}  // namespace

std::optional<Results> train_sweep(const Sweep& sweep, const std::atomic<bool>& stop) {
  return Runner(sweep, stop).run();
}

std::string slug(std::string_view label) {
  std::string text;
  for (char c : label) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
    const bool capital = c >= 'A' && c <= 'Z';
    if (plain || capital)
      text += capital ? static_cast<char>(c - 'A' + 'a') : c;
    else if (!text.empty() && text.back() != '-')
      text += '-';
  }
  while (!text.empty() && text.back() == '-') text.pop_back();
  return text;
}

}  // namespace switchyard
