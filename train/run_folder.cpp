#include "train/run_folder.h"

#include <nlohmann/json.hpp>

#include "moe/checkpoint.h"
#include "moe/config_io.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// The folder of a new run must not hold one; the folder of a resumed run must.
const fs::path& opened(const fs::path& dir, bool resume) {
  finish_update(dir);
  const bool exists = fs::exists(dir / "train.json");
  check(resume || !exists, "{}: holds a run already; add --resume to go on with it, or choose another --out",
        dir.string());
  check(!resume || exists, "{}: holds no run to resume", dir.string());
  fs::create_directories(dir);
  return dir;
}

// train.json: the step, the training configuration and the files.
nlohmann::json read_state(const fs::path& dir) {
  const fs::path path = dir / "train.json";
  check(fs::exists(path), "{}: holds no run (no train.json)", dir.string());
  nlohmann::json state = nlohmann::json::parse(read_file(path), nullptr, false);
  const bool whole = state.is_object() && state["step"].is_number_unsigned() && state["train"].is_object() &&
                     state["files"].is_array();
  check(whole, "{}: not a run's train.json", path.string());
  return state;
}

}  // namespace

RunConfig load_run(const fs::path& dir) {
  finish_update(dir);
  const nlohmann::json state = read_state(dir);
  RunConfig config{.source = {}, .model = load_config(dir), .train = {}, .out = dir};
  from_json(state["train"], config.train, (dir / "train.json").string() + ": ");
  for (const nlohmann::json& file : state["files"]) {
    check(file.is_string(), "{}: a file's name must be a text", (dir / "train.json").string());
    config.source.files.emplace_back(file.get<std::string>());
  }
  return config;
}

RunFolder::RunFolder(const fs::path& dir, bool resume) : dir_(dir), lock_(opened(dir, resume)) {}

void RunFolder::load(Transformer& model, AdamW& optimizer) const {
  load_weights(dir_, model);
  optimizer.restore(SafetensorsFile(dir_ / "optimizer.safetensors"), read_state(dir_).at("step"));
}

void RunFolder::save(const RunConfig& config, Transformer& model, const Tokenizer& tokenizer, const AdamW& optimizer) {
  DirectoryUpdate update(dir_);
  write_model(update, model, &tokenizer);
  save_safetensors(update.file("optimizer.safetensors"), optimizer.state());
  nlohmann::json state{{"step", optimizer.steps()}, {"train", to_json(config.train)}};
  state["files"] = nlohmann::json::array();
  for (const fs::path& file : config.source.files) state["files"].push_back(fs::absolute(file).string());
  write_file(update.file("train.json"), state.dump(2) + "\n");
  update.commit();
}

}  // namespace switchyard
