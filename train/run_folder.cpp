#include "train/run_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "moe/checkpoint.h"
#include "moe/config_io.h"
#include "train/conversations.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr const char* moments = "optimizer.safetensors";
constexpr const char* parts[] = {"model.safetensors", moments, "config.json", "tokenizer.json"};
constexpr const char* state_name = "train.json";
constexpr const char* previous = "previous";

// What a run keeps in its folder beside these.
constexpr const char* others[] = {"generation_config.json", "tokenizer_config.json", "metrics.jsonl"};

// The folder of a new run must not hold a run or a model; the folder of a resumed run must hold a run.
const fs::path& opened(const fs::path& dir, bool resume) {
  finish_update(dir);
  const bool exists = fs::exists(dir / state_name) || fs::exists(dir / previous / state_name);
  check(resume || !exists, "{}: holds a run already; ./run train --resume goes on with it, or choose another --out",
        dir.string());
  check(resume || !(fs::exists(dir / "config.json") || fs::exists(dir / "model.safetensors")),
        "{}: holds a model already; choose another --out", dir.string());
  check(!resume || exists, "{}: holds no run to resume", dir.string());
  fs::create_directories(dir);
  return dir;
}

// train.json: the step, the training configuration, the text's files, and checksums of the checkpoint's files; where
// that is so, that they hold conversations, which parts are frozen, and who teaches.
nlohmann::json read_state(const fs::path& dir) {
  const fs::path path = dir / state_name;
  check(fs::exists(path), "{}: holds no run (no train.json)", dir.string());
  nlohmann::json state = nlohmann::json::parse(read_file(path), nullptr, false);
  const bool whole = state.is_object() && state["step"].is_number_unsigned() && state["train"].is_object() &&
                     state["files"].is_array() && state.value("conversations", nlohmann::json(false)).is_boolean() &&
                     state.value("freeze", nlohmann::json::array()).is_array();
  check(whole, "{}: not a run's train.json", path.string());
  return state;
}

// Of the state itself, but for the place where that stands.
std::string checksum_of(nlohmann::json state) {
  state["checksums"].erase(state_name);
  const std::string text = state.dump();
  return fmt::format("{:016x}", checksum(std::as_bytes(std::span(text))));
}
std::string checksum_of(const fs::path& path) { return fmt::format("{:016x}", checksum(path)); }

// What is wrong with the checkpoint in `dir`; nullopt: it is whole. Checkpoints of before there were checksums have
// none. Finished runs of a sweep have no optimizer's state, which only training needs.
std::optional<std::string> damage(const fs::path& dir, bool to_train = true) {
  try {
    const nlohmann::json state = read_state(dir);
    const nlohmann::json sums = state.value("checksums", nlohmann::json::object());
    if (sums.contains(state_name) && sums[state_name] != checksum_of(state))
      return (dir / state_name).string() + ": damaged (its checksum is another)";
    for (const char* part : parts) {
      if (!to_train && part == moments && !fs::exists(dir / part)) continue;
      if (!fs::exists(dir / part)) return (dir / part).string() + ": missing";
      if (sums.contains(part) && sums[part] != checksum_of(dir / part))
        return (dir / part).string() + ": damaged (its checksum is another)";
    }
    return std::nullopt;
  } catch (const std::exception& error) {
    return error.what();
  }
}

// Where the last whole checkpoint of a run lies, and what must be said if it is not the last one.
struct Found {
  fs::path dir;
  std::string complaint;
};
Found last_whole(const fs::path& dir, bool to_train) {
  finish_update(dir);
  const std::optional<std::string> wrong = damage(dir);
  if (!wrong) return {dir, ""};
  const fs::path before = dir / previous;
  if (!fs::exists(before / state_name)) {
    read_state(dir);  // says that there is no run at all, if so
    if (!to_train && !damage(dir, to_train)) return {dir, ""};
    fail("{}; there is no earlier checkpoint to go on from", *wrong);
  }
  if (const auto worse = damage(before)) fail("{}; and the checkpoint before it: {}", *wrong, *worse);
  return {before, fmt::format("{}; going on from the checkpoint before it, of step {}", *wrong,
                              read_state(before).at("step").get<int64_t>())};
}

// A checkpoint is written beside the last one, so the disk must hold it in addition; better to know before.
void check_space(const fs::path& dir, Transformer& model, const std::vector<NamedTensor>& state) {
  uint64_t needed = uint64_t{1} << 16;  // for the small files
  model.visit([&](const std::string&, Var& p) { needed += p.value().bytes(); });
  for (const NamedTensor& t : state) needed += t.tensor.bytes();
  std::error_code unknown;
  const fs::space_info space = fs::space(dir, unknown);
  check(unknown || space.available >= needed, "{}: a checkpoint needs {:.1f} MB, and {:.1f} MB are free; {}",
        dir.string(), double(needed) / 1e6, double(space.available) / 1e6,
        "free some; if there is an earlier one it is whole, and --resume goes on from it");
}

std::vector<std::string> texts(const nlohmann::json& list, const fs::path& path) {
  std::vector<std::string> all;
  for (const nlohmann::json& text : list) {
    check(text.is_string(), "{}: {}: must be a text", path.string(), text.dump());
    all.push_back(text.get<std::string>());
  }
  return all;
}

// A model that was tuned on conversations says how it wants to be asked.
void write_template(const DirectoryUpdate& update) {
  const fs::path path = update.file("tokenizer_config.json");
  nlohmann::json about_tokens = nlohmann::json::parse(read_file(path));
  about_tokens["chat_template"] = chat_template();
  write_file(path, about_tokens.dump(2) + "\n");
}

void write_checkpoint(const fs::path& dir, const RunConfig& config, Transformer& model, const Tokenizer& tokenizer,
                      const Optimizer& optimizer, const History& history) {
  DirectoryUpdate update(dir);
  check_space(dir, model, optimizer.state());
  write_model(update, model, &tokenizer);
  save_safetensors(update.file(moments), optimizer.state());
  nlohmann::json state{{"step", optimizer.steps()},      {"updates", optimizer.updates()},
                       {"train", to_json(config.train)}, {"recent_losses", history.losses.state()},
                       {"tokens", config.source.tokens}, {"files", nlohmann::json::array()}};
  for (const fs::path& file : config.source.files) state["files"].push_back(fs::absolute(file).string());
  if (config.source.conversations) {
    state["conversations"] = true;
    write_template(update);
  }
  if (config.train.gradient_noise) state["gradient_noise"] = history.noise.state();
  if (!config.freeze.empty()) state["freeze"] = config.freeze;
  if (config.teacher)
    state["teacher"] = {{"dir", fs::absolute(config.teacher->dir).string()}, {"share", config.teacher->share}};
  for (const char* part : parts) state["checksums"][part] = checksum_of(update.file(part));
  state["checksums"][state_name] = checksum_of(state);
  write_file(update.file(state_name), state.dump(2) + "\n");
  update.commit();
}

// `to` has the same file as `from`: a second name for it, or a copy where the file system has no such thing.
void link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::create_hard_link(from, to, failed);
  if (failed) fs::copy_file(from, to, fs::copy_options::overwrite_existing);
}

// Keeps the checkpoint in `dir` as dir/previous. Its files get second names there; save() leaves the files as they are
// and gives their first names to others. Cut short, it leaves no previous/, but then the last checkpoint is whole.
void keep_as_previous(const fs::path& dir) {
  const fs::path partial = dir / "previous.partial";
  fs::remove_all(partial);
  fs::create_directory(partial);
  for (const char* part : parts) link_or_copy(dir / part, partial / part);
  link_or_copy(dir / state_name, partial / state_name);
  fs::remove_all(dir / previous);
  fs::rename(partial, dir / previous);
}

}  // namespace

void check_trainable(const RunConfig& config) {
  check(!config.train.gradient_noise || config.train.accumulate > 1,
        "--gradient-noise: needs --accumulate 2 or more, passes of a step to be compared");
  check(!config.start.empty() || !config.model.adapters.any(),
        "--adapters {}: a new model has nothing to adapt; ./run finetune --model DIR adapts one",
        name(config.model.adapters.of));
}

RunConfig load_run(const fs::path& dir) {
  const fs::path from = last_whole(dir, false).dir;
  const nlohmann::json state = read_state(from);
  RunConfig config{.source = {}, .model = load_config(from), .train = {}, .out = dir};
  from_json(state["train"], config.train, (from / state_name).string() + ": ");
  for (const std::string& file : texts(state["files"], from / state_name)) config.source.files.emplace_back(file);
  config.source.conversations = state.value("conversations", false);
  config.freeze = texts(state.value("freeze", nlohmann::json::array()), from / state_name);
  config.source.tokens = state.value("tokens", "");
  if (const auto teacher = state.find("teacher"); teacher != state.end()) {
    const bool whole = teacher->is_object() && teacher->value("dir", nlohmann::json()).is_string() &&
                       teacher->value("share", nlohmann::json()).is_number();
    check(whole, "{}: its teacher must have a \"dir\" and a \"share\"", (from / state_name).string());
    config.teacher = Teacher{.dir = teacher->at("dir").get<std::string>(), .share = teacher->at("share")};
  }
  return config;
}

void check_no_part_of_run(const fs::path& file) {
  const auto is_named = [&](const char* name) { return file.filename() == name; };
  const bool part = file.filename() == state_name || std::any_of(std::begin(parts), std::end(parts), is_named) ||
                    std::any_of(std::begin(others), std::end(others), is_named);
  check(!part || !fs::exists(file), "{}: belongs to a run or a model; choose another name", file.string());
}

RunFolder::RunFolder(const fs::path& dir, bool resume) : dir_(dir), lock_(opened(dir, resume)) {
  if (!resume) return;
  const Found found = last_whole(dir_, true);
  complaint_ = found.complaint;
  if (found.dir == dir_) return;
  DirectoryUpdate update(dir_);
  for (const char* part : parts) write_file(update.file(part), read_file(found.dir / part));
  write_file(update.file(state_name), read_file(found.dir / state_name));
  update.commit();
}

bool RunFolder::has_checkpoint() const { return fs::exists(dir_ / state_name); }

void RunFolder::load(Transformer& model, Optimizer& optimizer, History& history) {
  const nlohmann::json state = read_state(dir_);
  load_weights(dir_, model);
  const int64_t step = state.at("step");
  optimizer.restore(SafetensorsFile(dir_ / moments), step, state.value("updates", step));
  history.losses.restore(state.value("recent_losses", nlohmann::json::array()));
  history.noise.restore(state.value("gradient_noise", nlohmann::json::array()));
}

void RunFolder::save(const RunConfig& config, Transformer& model, const Tokenizer& tokenizer,
                     const Optimizer& optimizer, const History& history) {
  if (fs::exists(dir_ / state_name)) keep_as_previous(dir_);  // it is whole: written or checked by this run
  write_checkpoint(dir_, config, model, tokenizer, optimizer, history);
}

void RunFolder::save_snapshot(const std::string& name, const RunConfig& config, Transformer& model,
                              const Tokenizer& tokenizer, const Optimizer& optimizer, const History& history) const {
  const fs::path dir = dir_ / name;
  fs::remove_all(dir);
  write_checkpoint(dir, config, model, tokenizer, optimizer, history);
  link_or_copy(dir_ / config.source.tokens, dir / config.source.tokens);
}

}  // namespace switchyard
