// config.json: written from a ModelConfig, and read back from ours or from another program's Mixtral or Llama.
#include <algorithm>

#include "moe/checkpoint.h"
#include "moe/config_io.h"
#include "tensor/file.h"

namespace switchyard {
namespace {

using nlohmann::json;

constexpr const char* our_key = "switchyard";

// Our field and the key of Hugging Face's configurations that means the same. A file must hold those that are needed;
// where another is missing or null, the class of that architecture has a default (see `defaults`).
struct SameMeaning {
  const char *field, *key;
  bool needed, experts_only;
};
constexpr SameMeaning table[] = {
    {"vocab", "vocab_size", true, false},
    {"context", "max_position_embeddings", false, false},
    {"layers", "num_hidden_layers", true, false},
    {"width", "hidden_size", true, false},
    {"heads", "num_attention_heads", true, false},
    {"kv-heads", "num_key_value_heads", false, false},
    {"head-dim", "head_dim", false, false},
    {"ffn", "intermediate_size", true, false},
    {"norm-epsilon", "rms_norm_eps", false, false},
    {"rope-theta", "rope_theta", false, false},
    {"tied", "tie_word_embeddings", false, false},
    {"init", "initializer_range", false, false},
    {"experts", "num_local_experts", true, true},
    {"top-k", "num_experts_per_tok", true, true},
    {"balance", "router_aux_loss_coef", false, true},
    // A Llama has none.
    {"window", "sliding_window", false, true},
};

// What MixtralConfig and LlamaConfig assume where a file is silent.
ModelConfig defaults(bool experts) {
  ModelConfig c;
  c.context = experts ? 131072 : 2048;
  c.norm_epsilon = experts ? 1e-5 : 1e-6;
  c.rope_theta = experts ? 1e6 : 1e4;
  c.gate_norm = experts ? GateNorm::sum_to_one : GateNorm::none;
  c.balance = experts ? 0.001 : 0;
  if (!experts) c.experts = c.top_k = 1;
  return c;
}

// The name of the architecture that computes exactly what our model does.
std::string model_type(const ModelConfig& c) {
  if (c.activation != Activation::swiglu || c.norm != NormKind::rms || c.adapters.any()) return our_key;
  if (c.attention != AttentionKind::grouped || c.qk_norm != QkNorm::none || c.first_dense > 0 || c.moe_every > 1)
    return our_key;
  if (c.dense()) return c.window && *c.window < c.context ? our_key : "llama";
  const bool mixtral = c.router == "topk" && c.gate_norm == GateNorm::sum_to_one && c.shared_experts == 0 &&
                       c.gate_scale == 1 && c.router_compute == Compute::f32;
  return mixtral ? "mixtral" : our_key;
}

// `file[key]`, or null where it is missing.
json value_of(const json& file, const char* key) { return file.contains(key) ? file[key] : json(); }

// Error if the file asks for what Transformer does not do; otherwise we would compute something else.
void check_supported(const json& file, const ModelConfig& c, const std::string& where) {
  const auto must_be = [&](const json& in, const char* key, std::initializer_list<json> allowed, const char* why) {
    const json value = value_of(in, key);
    check(value.is_null() || std::find(allowed.begin(), allowed.end(), value) != allowed.end(), "{}: {} {}: {}", where,
          key, value_text(value), why);
  };
  must_be(file, "hidden_act", {"silu", "swish"}, "must be silu");
  must_be(file, "attention_bias", {false}, "must be false: the projections here have no biases");
  must_be(file, "mlp_bias", {false}, "must be false: the feed-forward layers here have no biases");
  const json window = value_of(file, "sliding_window");
  check(!c.dense() || window.is_null() || (window.is_number_integer() && window.get<int64_t>() >= c.context),
        "{}: sliding_window {}: must be null or at least max_position_embeddings, for a Llama's attention sees all",
        where, value_text(window));
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const json rope = value_of(file, key);
    check(rope.is_null() || rope.is_object(), "{}: {} {}: must be an object or null", where, key, value_text(rope));
    for (const char* type : {"rope_type", "type"})
      must_be(rope, type, {"default"}, "must be default: no other scaling of the positions is known here");
  }
}

ModelConfig read_foreign(const json& file, const std::string& where) {
  const json type = value_of(file, "model_type");
  check(type == "mixtral" || type == "llama", "{}: model_type {}: must be mixtral or llama, or the file must hold {}",
        where, value_text(type), our_key);
  const bool experts = type == "mixtral";
  ModelConfig config = defaults(experts);
  const std::vector<Field> fields = list_fields(config);
  bool kv_heads = false;
  for (const SameMeaning& row : table) {
    if (row.experts_only && !experts) continue;
    json value = value_of(file, row.key);
    if (value.is_null() && row.field == std::string_view("rope-theta"))
      value = value_of(value_of(file, "rope_parameters"), row.key);
    check(!row.needed || !value.is_null(), "{}: {}: is missing", where, row.key);
    if (value.is_null()) continue;
    kv_heads |= row.field == std::string_view("kv-heads");
    const auto is_row = [&](const Field& field) { return field.name == row.field; };
    std::find_if(fields.begin(), fields.end(), is_row)->set(value, fmt::format("{}: {} ", where, row.key));
  }
  if (!kv_heads) config.kv_heads = experts ? 8 : config.heads;
  check(!experts || config.experts >= 2, "{}: num_local_experts {}: must be 2 or more in a mixtral", where,
        config.experts);
  check(!experts || config.top_k >= 2,
        "{}: num_experts_per_tok {}: must be 2 or more in a mixtral, whose gates sum to one and would all be 1", where,
        config.top_k);
  check_supported(file, config, where);
  return config;
}

}  // namespace

std::string config_json(const ModelConfig& config, int end_id, Dtype dtype) {
  const std::string type = model_type(config), number = dtype == Dtype::f64 ? "float64" : "float32";
  const json end = end_id >= 0 ? json(end_id) : json();
  json file = {{"architectures",
                {type == "mixtral" ? "MixtralForCausalLM"
                 : type == "llama" ? "LlamaForCausalLM"
                                   : "SwitchyardForCausalLM"}},
               {"model_type", type},
               {"hidden_act", "silu"},
               {"attention_dropout", 0.0},
               {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", config.rope_theta}}},  // since version 5
               {"bos_token_id", end},
               {"eos_token_id", end},
               {"dtype", number},
               {"torch_dtype", number},  // until version 4
               {"use_cache", true}};
  if (type == "mixtral") file["output_router_logits"] = false;
  if (type == "llama") file["attention_bias"] = false, file["mlp_bias"] = false;
  if (config.activation == Activation::gelu) file["hidden_act"] = "gelu";
  if (config.activation == Activation::relu) file["hidden_act"] = "relu";
  const json ours = to_json(config);
  for (const SameMeaning& row : table)
    if (!row.experts_only || !config.dense()) file[row.key] = ours[json_key(row.field)];
  file["head_dim"] = config.head_width();
  file[our_key] = ours;
  return file.dump(2) + "\n";
}

ModelConfig load_config(const std::filesystem::path& dir) {
  finish_update(dir);
  const std::string where = (dir / "config.json").string();
  const json file = json::parse(read_file(where), nullptr, false);
  check(!file.is_discarded(), "{}: is not JSON", where);
  check(file.is_object(), "{}: a JSON {}: must be an object", where, file.type_name());
  ModelConfig config;
  if (file.contains(our_key))
    from_json(file[our_key], config, fmt::format("{}: {}", where, our_key));
  else
    config = read_foreign(file, where);
  try {
    validate(config);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
  return config;
}

}  // namespace switchyard
