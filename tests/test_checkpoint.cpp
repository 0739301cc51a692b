// Checkpoints: the names and shapes of Hugging Face's Mixtral and Llama, the same numbers after a round trip and by
// another program's arithmetic, and an Error for everything that a file can get wrong.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "moe/checkpoint.h"
#include "moe/size.h"
#include "tensor/file.h"
#include "tests/hf_forward.h"
#include "tests/scratch.h"

using namespace switchyard;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// All sizes differ, so that none can stand for another; H D is not the width.
ModelConfig mixtral() {
  return {.vocab = 11,
          .context = 16,
          .layers = 2,
          .width = 10,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 6,
          .ffn = 7,
          .init = 0.5,
          .experts = 3,
          .top_k = 2};
}
ModelConfig llama() {
  ModelConfig c = mixtral();
  c.experts = c.top_k = 1, c.gate_norm = GateNorm::none, c.tied = true;
  return c;
}
// What neither architecture has: LayerNorm with its bias, an ungated activation, shared experts, Switch's gates.
ModelConfig unusual() {
  ModelConfig c = mixtral();
  c.norm = NormKind::layer, c.activation = Activation::gelu, c.shared_experts = 2;
  c.router = "switch", c.top_k = 1, c.gate_norm = GateNorm::none;
  return c;
}
ModelConfig windowed() {
  ModelConfig c = mixtral();
  c.window = 5;
  return c;
}
ModelConfig normed(QkNorm norm) {
  ModelConfig c = mixtral();
  c.qk_norm = norm;
  return c;
}
ModelConfig latent(std::optional<int> query_rank) {
  ModelConfig c = mixtral();
  c.attention = AttentionKind::latent, c.kv_heads = c.heads;
  c.query_rank = query_rank, c.latent_rank = 9, c.rope_dim = 2, c.value_dim = 5;
  return c;
}
std::vector<ModelConfig> all_attentions() {
  return {windowed(), normed(QkNorm::head), normed(QkNorm::whole), latent({}), latent(8)};
}
ModelConfig shared_swiglu() {
  ModelConfig c = mixtral();
  c.shared_experts = 2;
  return c;
}

Tensor logits_of(Transformer& model) {
  const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  return model(Tensor::from(tokens, {2, 5})).logits.value();
}
bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}
// Every parameter differs from its initial value, the norms' ones among them.
void disturb(Transformer& model) {
  uint64_t n = 0;
  model.visit([&](const std::string&, Var& parameter) {
    const Tensor& x = parameter.value();
    with_float_type(x.dtype(), [&]<class T>() {
      for (int64_t i = 0; i < x.count(); ++i) x.data<T>()[i] = T(x.data<T>()[i] + 0.1 * normal({7, 7}, n++));
    });
  });
}

using Shapes = std::map<std::string, Shape>;

Shapes shapes_in(const fs::path& file) {
  const SafetensorsFile opened(file);
  Shapes shapes;
  for (const std::string& name : opened.names()) shapes[name] = opened.shape(name);
  return shapes;
}

json read_json(const fs::path& path) { return json::parse(read_file(path)); }

// A saved model whose files a test then spoils.
struct Saved {
  Scratch scratch;
  fs::path dir = scratch.path, weights = dir / "model.safetensors", config = dir / "config.json";
  Transformer model;
  explicit Saved(const ModelConfig& c = mixtral()) : model(c, 1) {
    disturb(model);
    save_model(dir, model);
  }
  void write(const json& value) const { write_file(config, value.dump()); }
  // Rewrites the weights after f has changed the list of tensors.
  template <class F>
  void change_weights(F&& f) const {
    std::vector<NamedTensor> tensors;
    const SafetensorsFile file(weights);
    for (const std::string& name : file.names()) tensors.push_back({name, file.load(name)});
    f(tensors);
    save_safetensors(weights, tensors);
  }
  std::string error() const {
    const std::string message = error_of([&] { load_model(dir); });
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
};

}  // namespace

TEST_CASE("checkpoint: a mixture has the tensors of MixtralForCausalLM, in its shapes") {
  const Saved saved;
  const int64_t V = 11, C = 10, H = 4, K = 2, D = 6, E = 3, F = 7;
  Shapes expected = {{"model.embed_tokens.weight", {V, C}}, {"model.norm.weight", {C}}, {"lm_head.weight", {V, C}}};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    expected[layer + "input_layernorm.weight"] = {C};
    expected[layer + "post_attention_layernorm.weight"] = {C};
    expected[layer + "self_attn.q_proj.weight"] = {H * D, C};
    expected[layer + "self_attn.k_proj.weight"] = {K * D, C};
    expected[layer + "self_attn.v_proj.weight"] = {K * D, C};
    expected[layer + "self_attn.o_proj.weight"] = {C, H * D};
    expected[layer + "block_sparse_moe.gate.weight"] = {E, C};
    for (const std::string expert : {"experts.0.", "experts.1.", "experts.2."}) {
      expected[layer + "block_sparse_moe." + expert + "w1.weight"] = {F, C};
      expected[layer + "block_sparse_moe." + expert + "w2.weight"] = {C, F};
      expected[layer + "block_sparse_moe." + expert + "w3.weight"] = {F, C};
    }
  }
  CHECK(shapes_in(saved.weights) == expected);
  const SafetensorsFile file(saved.weights);
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.dtype("model.norm.weight") == "F32");
}

TEST_CASE("checkpoint: a dense model has the tensors of LlamaForCausalLM") {
  const Saved saved(llama());
  const int64_t V = 11, C = 10, H = 4, K = 2, D = 6, F = 7;
  Shapes expected = {{"model.embed_tokens.weight", {V, C}}, {"model.norm.weight", {C}}};  // tied: no lm_head
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    expected[layer + "input_layernorm.weight"] = {C};
    expected[layer + "post_attention_layernorm.weight"] = {C};
    expected[layer + "self_attn.q_proj.weight"] = {H * D, C};
    expected[layer + "self_attn.k_proj.weight"] = {K * D, C};
    expected[layer + "self_attn.v_proj.weight"] = {K * D, C};
    expected[layer + "self_attn.o_proj.weight"] = {C, H * D};
    expected[layer + "mlp.gate_proj.weight"] = {F, C};
    expected[layer + "mlp.up_proj.weight"] = {F, C};
    expected[layer + "mlp.down_proj.weight"] = {C, F};
  }
  CHECK(shapes_in(saved.weights) == expected);
}

TEST_CASE("checkpoint: what the two architectures lack has names of its own") {
  const Saved saved(unusual());
  const Shapes shapes = shapes_in(saved.weights);
  const std::string layer = "model.layers.1.";
  CHECK(shapes.at(layer + "input_layernorm.bias") == Shape{10});
  CHECK(shapes.at("model.norm.bias") == Shape{10});
  CHECK(shapes.at(layer + "block_sparse_moe.experts.2.w1.weight") == Shape{7, 10});
  CHECK(shapes.at(layer + "block_sparse_moe.experts.2.w2.weight") == Shape{10, 7});
  CHECK(shapes.at(layer + "mlp.shared_experts.up_proj.weight") == Shape{14, 10});
  CHECK(shapes.at(layer + "mlp.shared_experts.down_proj.weight") == Shape{10, 14});
  CHECK_FALSE(shapes.contains(layer + "block_sparse_moe.experts.2.w3.weight"));
  CHECK_FALSE(shapes.contains(layer + "mlp.shared_experts.gate_proj.weight"));
  CHECK(shapes_in(Saved(shared_swiglu()).weights).at(layer + "mlp.shared_experts.gate_proj.weight") == Shape{14, 10});
}

TEST_CASE("checkpoint: normed queries and keys are named as in Qwen3 and OLMoE, latent attention as in DeepSeek") {
  const std::string layer = "model.layers.1.self_attn.";
  const int64_t C = 10, H = 4, K = 2, D = 6;
  for (QkNorm norm : {QkNorm::head, QkNorm::whole}) {
    const Shapes shapes = shapes_in(Saved(normed(norm)).weights);
    CHECK(shapes.at(layer + "q_norm.weight") == Shape{norm == QkNorm::head ? D : H * D});
    CHECK(shapes.at(layer + "k_norm.weight") == Shape{norm == QkNorm::head ? D : K * D});
    CHECK(shapes.at(layer + "k_proj.weight") == Shape{K * D, C});
  }
  for (const std::optional<int> rank : {std::optional<int>(), std::optional<int>(8)}) {
    Shapes expected = {{"kv_a_proj_with_mqa.weight", {9 + 2, C}},
                       {"kv_a_layernorm.weight", {9}},
                       {"kv_b_proj.weight", {H * (D + 5), 9}},
                       {"o_proj.weight", {C, H * 5}}};
    if (rank)
      expected.merge(
          Shapes{{"q_a_proj.weight", {8, C}}, {"q_a_layernorm.weight", {8}}, {"q_b_proj.weight", {H * (D + 2), 8}}});
    else
      expected["q_proj.weight"] = {H * (D + 2), C};
    Shapes found;
    for (const auto& [name, shape] : shapes_in(Saved(latent(rank)).weights))
      if (name.starts_with(layer)) found[name.substr(layer.size())] = shape;
    CHECK(found == expected);
  }
}

TEST_CASE("checkpoint: every parameter is in the file once") {
  std::vector<ModelConfig> configs = all_attentions();
  for (const ModelConfig& other : {mixtral(), llama(), unusual(), shared_swiglu()}) configs.push_back(other);
  for (const ModelConfig& config : configs) {
    Transformer model(config);
    int64_t count = 0;
    for (const auto& [name, tensor] : named_tensors(model)) count += tensor.count();
    CHECK(count == total_params(config));
  }
}

TEST_CASE("checkpoint: saved and loaded, the logits are the same to the bit") {
  std::vector<ModelConfig> configs = all_attentions();
  for (const ModelConfig& other : {mixtral(), llama(), unusual(), shared_swiglu()}) configs.push_back(other);
  for (const ModelConfig& config : configs)
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      const Scratch scratch;
      Transformer model(config, 5, dtype);
      disturb(model);
      save_model(scratch.path / "m", model);
      Transformer loaded = load_model(scratch.path / "m", dtype);
      CHECK(same_bits(logits_of(model), logits_of(loaded)));
      Transformer other(config, 6, dtype);
      CHECK_FALSE(same_bits(logits_of(model), logits_of(other)));
      load_weights(scratch.path / "m", other);
      CHECK(same_bits(logits_of(model), logits_of(other)));
    }
}

TEST_CASE("checkpoint: Hugging Face's arithmetic over the file gives our logits") {
  for (const ModelConfig& config : {mixtral(), llama(), windowed()}) {
    const Scratch scratch;
    Transformer model(config, 3, Dtype::f64);
    disturb(model);
    save_model(scratch.path, model);
    const HfModel reference(read_json(scratch.path / "config.json"),
                            SafetensorsFile(scratch.path / "model.safetensors"));
    const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
    const auto expected = reference.logits(tokens);
    const std::vector<double> got = model(Tensor::from(tokens, {1, 12})).logits.value().values();
    double worst = 0;
    for (size_t t = 0; t < tokens.size(); ++t)
      for (size_t v = 0; v < 11; ++v) worst = std::max(worst, std::abs(got[t * 11 + v] - expected[t][v]));
    CHECK(worst < 1e-10);  // f64 on both sides; the logits are of order 1
  }
}

TEST_CASE("checkpoint: config.json holds what other readers ask for") {
  const Saved saved;
  const json file = read_json(saved.config);
  CHECK(file["model_type"] == "mixtral");
  CHECK(file["architectures"] == json::array({"MixtralForCausalLM"}));
  CHECK(file["vocab_size"] == 11);
  CHECK(file["hidden_size"] == 10);
  CHECK(file["intermediate_size"] == 7);
  CHECK(file["num_hidden_layers"] == 2);
  CHECK(file["num_attention_heads"] == 4);
  CHECK(file["num_key_value_heads"] == 2);
  CHECK(file["head_dim"] == 6);
  CHECK(file["num_local_experts"] == 3);
  CHECK(file["num_experts_per_tok"] == 2);
  CHECK(file["max_position_embeddings"] == 16);
  CHECK(file["rms_norm_eps"] == 1e-5);
  CHECK(file["rope_theta"] == 10000);
  CHECK(file["rope_parameters"] == json({{"rope_type", "default"}, {"rope_theta", 10000.0}}));
  CHECK(file["tie_word_embeddings"] == false);
  CHECK(file["hidden_act"] == "silu");
  CHECK(file["sliding_window"].is_null());
  CHECK(file["torch_dtype"] == "float32");
  CHECK(file["dtype"] == "float32");
  CHECK(file["switchyard"].size() == 57);
  const json plain = json::parse(config_json(llama(), 7, Dtype::f64));
  CHECK(plain["model_type"] == "llama");
  CHECK(plain["architectures"] == json::array({"LlamaForCausalLM"}));
  CHECK(plain["attention_bias"] == false);
  CHECK(plain["eos_token_id"] == 7);
  CHECK(plain["torch_dtype"] == "float64");
  CHECK_FALSE(plain.contains("num_local_experts"));
  // Another program that took these for a Mixtral would compute something else.
  CHECK(json::parse(config_json(unusual()))["model_type"] == "switchyard");
  CHECK(json::parse(config_json(shared_swiglu()))["model_type"] == "switchyard");
  for (const ModelConfig& config : {normed(QkNorm::head), normed(QkNorm::whole), latent({})})
    CHECK(json::parse(config_json(config))["model_type"] == "switchyard");
  CHECK(json::parse(config_json(windowed()))["model_type"] == "mixtral");
  CHECK(json::parse(config_json(windowed()))["sliding_window"] == 5);
  ModelConfig dense = llama();
  dense.window = 5;  // a Llama has none
  CHECK(json::parse(config_json(dense))["model_type"] == "switchyard");
  dense.window = dense.context;
  CHECK(json::parse(config_json(dense))["model_type"] == "llama");
}

TEST_CASE("checkpoint: the tokenizer goes with the model") {
  const Scratch scratch;
  ModelConfig config = mixtral();
  const Tokenizer tokenizer = Tokenizer::bytes();
  config.vocab = tokenizer.vocab_size();
  Transformer model(config);
  save_model(scratch.path, model, &tokenizer);
  CHECK(Tokenizer::load(scratch.path / "tokenizer.json").encode("x") == tokenizer.encode("x"));
  CHECK(read_json(scratch.path / "config.json")["eos_token_id"] == 256);
  CHECK(read_json(scratch.path / "generation_config.json")["eos_token_id"] == 256);
  CHECK(read_json(scratch.path / "tokenizer_config.json")["eos_token"] == "<|end|>");
}

TEST_CASE("checkpoint: a tensor that is missing, misshapen or not the model's is named") {
  const std::string name = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
  const auto is_it = [&](const NamedTensor& t) { return t.name == name; };
  {
    const Saved saved;
    saved.change_weights([&](auto& tensors) {
      std::erase_if(tensors, is_it);
      tensors.push_back({"padding", Tensor::zeros({100})});  // as many numbers as there should be, at least
    });
    CHECK(saved.error() == saved.weights.string() + ": " + name + ": no such tensor, but config.json asks for it");
  }
  {
    Saved saved;
    saved.change_weights([&](auto& tensors) {
      Tensor& x = std::find_if(tensors.begin(), tensors.end(), is_it)->tensor;
      x = x.reshape({10, 7});
    });
    CHECK(saved.error() == saved.weights.string() + ": " + name + ": is (10, 7), must be (7, 10) by config.json");
    const Tensor before = logits_of(saved.model);
    CHECK(error_of([&] { load_weights(saved.dir, saved.model); }) == saved.error());
    CHECK(same_bits(before, logits_of(saved.model)));  // nothing was read before the error
  }
  {
    const Saved saved;
    saved.change_weights([&](auto& tensors) { tensors.push_back({"model.extra", Tensor::zeros({1})}); });
    CHECK(saved.error() == saved.weights.string() + ": model.extra: is not a tensor of the model in config.json");
  }
  {
    const Saved saved;  // old Llama files hold these; they follow from the configuration
    saved.change_weights([&](auto& tensors) {
      tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::zeros({3})});
    });
    CHECK(saved.error() == "no error");
  }
}
