#include "moe/checkpoint.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "moe/size.h"
#include "tensor/file.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* weights_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

//@begin names
// Lists the tensors of the file that make up the model's parameters. Rows of a fused matrix are views of it.
class Namer {
 public:
  explicit Namer(const ModelConfig& config) : config_(config) {}

  // `name` is the one that Transformer::visit() gives.
  void add(const std::string& name, const Tensor& x) {
    if (!name.starts_with("layers.")) return add_outside(name, x);
    const size_t dot = name.find('.', 7);
    const std::string layer = "model." + name.substr(0, dot + 1), part = name.substr(dot + 1);
    if (part.find(".adapter.") != std::string::npos) return put(layer + part, x);
    const auto rest = [&part](std::string_view prefix) { return part.substr(prefix.size()); };
    if (part.starts_with("attention_norm.")) return put(layer + "input_layernorm." + rest("attention_norm."), x);
    if (part.starts_with("ffn_norm.")) return put(layer + "post_attention_layernorm." + rest("ffn_norm."), x);
    if (part == "attention.qkv.weight") return add_qkv(layer + "self_attn.", x);
    if (part == "attention.out.weight") return put(layer + "self_attn.o_proj.weight", x);
    if (part.starts_with("attention.")) return put(layer + "self_attn." + rest("attention."), x);
    const bool plain = !config_.has_experts(std::stoi(name.substr(7)));
    const Activation dense = plain ? config_.dense_activation.value_or(config_.activation) : config_.activation;
    if (part.starts_with("mlp.")) return add_mlp(layer + "mlp.", rest("mlp."), x, gated(dense));
    if (part.starts_with("moe.shared."))
      return add_mlp(layer + "mlp.shared_experts.", rest("moe.shared."), x, gated(config_.activation));
    if (part.starts_with("moe.router.")) return put(layer + "block_sparse_moe.gate." + rest("moe.router."), x);
    if (part.starts_with("moe.experts.")) return add_experts(layer + "block_sparse_moe.experts.", part, x);
    put(layer + part, x);  // what neither architecture knows keeps our name
  }

  std::vector<NamedTensor> take() { return std::move(tensors_); }

 private:
  void put(std::string name, Tensor x) { tensors_.push_back({std::move(name), std::move(x)}); }
  void add_outside(const std::string& name, const Tensor& x) {
    if (name == "embedding.weight") return put("model.embed_tokens.weight", x);
    if (name == "head.weight") return put("lm_head.weight", x);
    put("model." + name, x);  // the last norm's weight and bias
  }
  void add_qkv(const std::string& prefix, const Tensor& x) {  // ((H + 2K) D, C)
    const int64_t D = config_.head_width(), q = config_.heads * D, k = q + config_.kv_heads * D;
    put(prefix + "q_proj.weight", x.rows(0, q));
    put(prefix + "k_proj.weight", x.rows(q, k));
    put(prefix + "v_proj.weight", x.rows(k, x.shape()[0]));
  }
  void add_mlp(const std::string& prefix, const std::string& part, const Tensor& x, bool gated) {
    if (part == "out.weight") return put(prefix + "down_proj.weight", x);
    const int64_t F = gated ? x.shape()[0] / 2 : 0;
    if (gated) put(prefix + "gate_proj.weight", x.rows(0, F));
    put(prefix + "up_proj.weight", x.rows(F, x.shape()[0]));
  }
  void add_experts(const std::string& prefix, const std::string& part, const Tensor& x) {
    for (int64_t e = 0; e < x.shape()[0]; ++e) {
      const Tensor one = x.rows(e, e + 1).reshape({x.shape()[1], x.shape()[2]});
      const std::string expert = prefix + std::to_string(e);
      if (part == "moe.experts.out") {
        put(expert + ".w2.weight", one);
      } else if (gated(config_.activation)) {
        const int64_t F = one.shape()[0] / 2;
        put(expert + ".w1.weight", one.rows(0, F));
        put(expert + ".w3.weight", one.rows(F, 2 * F));
      } else {
        put(expert + ".w1.weight", one);
      }
    }
  }

  const ModelConfig& config_;
  std::vector<NamedTensor> tensors_;
};
//@end names

// The weights of a directory: one file, or several and an index that says which tensor lies in which.
class Weights {
 public:
  explicit Weights(const fs::path& dir) : where_((dir / weights_name).string()) {
    std::error_code ignored;
    if (fs::exists(dir / weights_name, ignored) || !fs::exists(dir / index_name, ignored)) {
      files_.emplace_back(dir / weights_name);
      for (const std::string& name : files_[0].names()) place_[name] = 0;
      return;
    }
    where_ = (dir / index_name).string();
    const json index = json::parse(read_file(where_), nullptr, false);
    check(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
          "{}: must be a JSON object with an object weight_map", where_);
    std::map<std::string, size_t> opened;
    for (const auto& [name, file] : index["weight_map"].items()) {
      // A name that leads out of the directory would read whatever its author likes.
      check(file.is_string() && file != "" && file != "." && file != ".." &&
                file.get<std::string>().find_first_of(std::string("/\\\0", 3)) == std::string::npos,
            "{}: {}: must lie in a file of the same directory", where_, name);
      const auto [at, is_new] = opened.try_emplace(file, files_.size());
      if (is_new) files_.emplace_back(dir / file.get<std::string>());
      check(files_[at->second].contains(name), "{}: {} has no tensor {}", where_, at->first, name);
      place_[name] = at->second;
    }
  }

  bool contains(const std::string& name) const { return place_.contains(name); }
  const SafetensorsFile& file(const std::string& name) const { return files_[place_.at(name)]; }
  const std::map<std::string, size_t>& place() const { return place_; }
  int64_t elements() const {
    int64_t count = 0;
    for (const auto& [name, at] : place_) count += files_[at].shape(name).count();
    return count;
  }
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> place_;  // tensor -> file
};

bool of_adapter(const std::string& name) { return name.find(".adapter.") != std::string::npos; }

// Error unless the file has exactly the model's tensors, each in its shape.
void check_tensors(const Weights& weights, const std::vector<NamedTensor>& tensors) {
  std::set<std::string> known;
  for (const auto& [name, tensor] : tensors) {
    known.insert(name);
    check(weights.contains(name), "{}: {}: no such tensor, but config.json asks for it", weights.where(), name);
    const Shape shape = weights.file(name).shape(name);
    check(shape == tensor.shape(), "{}: {}: is {}, must be {} by config.json", weights.where(), name, shape.text(),
          tensor.shape().text());
  }
  for (const auto& [name, file] : weights.place())
    // Old Llama files hold the wavelengths of the rotary embedding, which follow from the configuration.
    check(known.contains(name) || name.ends_with(".rotary_emb.inv_freq"),
          "{}: {}: is not a tensor of the model in config.json", weights.where(), name);
}

// Without `adapters`, the model's own are left alone.
void read_weights(const Weights& weights, Transformer& model, bool adapters = true) {
  std::vector<NamedTensor> tensors = named_tensors(model);
  if (!adapters) std::erase_if(tensors, [](const NamedTensor& t) { return of_adapter(t.name); });
  check_tensors(weights, tensors);  // all of them before the first is written, so that an Error leaves the model whole
  for (const auto& [name, tensor] : tensors) weights.file(name).load_into(name, tensor);
}

}  // namespace

std::vector<NamedTensor> named_tensors(Transformer& model) {
  Namer namer(model.config());
  model.visit([&](const std::string& name, Var& parameter) { namer.add(name, parameter.value()); });
  return namer.take();
}

void write_model(const DirectoryUpdate& update, Transformer& model, const Tokenizer* tokenizer) {
  const std::vector<NamedTensor> tensors = named_tensors(model);
  const int end = tokenizer ? tokenizer->end_id() : -1;
  save_safetensors(update.file(weights_name), tensors);
  write_file(update.file("config.json"), config_json(model.config(), end, tensors.at(0).tensor.dtype()));
  if (!tokenizer) return;
  const std::string text = tokenizer->to_json();
  write_file(update.file("tokenizer.json"), text);
  const json end_text = json::parse(text)["added_tokens"][0]["content"];
  const json about_tokens = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                             {"bos_token", end_text},
                             {"eos_token", end_text},
                             {"model_max_length", model.config().context},
                             {"clean_up_tokenization_spaces", false}};
  write_file(update.file("tokenizer_config.json"), about_tokens.dump(2) + "\n");
  const json about_generation = {{"bos_token_id", end}, {"eos_token_id", end}};
  write_file(update.file("generation_config.json"), about_generation.dump(2) + "\n");
}

void save_model(const fs::path& dir, Transformer& model, const Tokenizer* tokenizer) {
  DirectoryUpdate update(dir);
  write_model(update, model, tokenizer);
  update.commit();
}

void load_weights(const fs::path& dir, Transformer& model) {
  finish_update(dir);
  const Weights weights(dir);
  const bool adapters = std::any_of(weights.place().begin(), weights.place().end(),
                                    [](const auto& tensor) { return of_adapter(tensor.first); });
  read_weights(weights, model, adapters);
}

Transformer load_model(const fs::path& dir, Dtype dtype, Device device) {
  const ModelConfig config = load_config(dir);
  const Weights weights(dir);
  // Before the memory is asked for: a wrong config.json may want more of it than there is.
  check(total_params(config) <= weights.elements(), "{}: holds {} numbers, but config.json asks for {}",
        weights.where(), weights.elements(), total_params(config));
  Transformer model(config, 0, dtype, device);
  read_weights(weights, model);
  return model;
}

}  // namespace switchyard
