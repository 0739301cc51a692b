// A model in a directory, in the layout of Hugging Face: config.json, model.safetensors and, where the model has one,
// tokenizer.json. Tensors are named as in Mixtral where there are experts and as in Llama where there are none.
#pragma once
#include <filesystem>
#include <vector>

#include "moe/transformer.h"
#include "nn/tokenizer.h"
#include "tensor/directory.h"
#include "tensor/safetensors.h"

namespace switchyard {

// The model's parameters under their names in the file, cut into the pieces that the file has: views, so that writing
// into them sets the model. A linear map is (out, in). H heads and K key/value heads of width D, C the model's width:
//   model.embed_tokens.weight (V, C)   model.norm.weight (C)   lm_head.weight (V, C), absent where tied
//   model.layers.N.input_layernorm.weight, .post_attention_layernorm.weight (C)
//   model.layers.N.self_attn.q_proj.weight (H D, C), .k_proj and .v_proj (K D, C), .o_proj (C, H D)
//   model.layers.N.block_sparse_moe.gate.weight (E, C)
//   model.layers.N.block_sparse_moe.experts.e.w1.weight (F, C), the gate's; .w3 (F, C), the other half; .w2 (C, F)
//   model.layers.N.mlp.gate_proj.weight, .up_proj (F, C), .down_proj (C, F) in a dense model
// What these two architectures do not have:
//   model.layers.N.self_attn.q_norm.weight, .k_norm.weight: (D) as in Qwen3, or (H D) and (K D) as in OLMoE
//   .self_attn.q_proj, or .q_a_proj, .q_a_layernorm and .q_b_proj; .kv_a_proj_with_mqa, .kv_a_layernorm, .kv_b_proj for
//   latent attention, as in DeepSeek but for the order of the rows that are turned (nn/latent_attention.h)
//   model.layers.N.mlp.shared_experts.gate_proj.weight, … for the shared experts, as in DeepSeek (no gate of their own)
//   no w3 and no gate_proj where the activation is not gated; .bias beside the .weight of a LayerNorm
std::vector<NamedTensor> named_tensors(Transformer& model);

// config.json as text. It holds the keys that Hugging Face's readers want and the whole ModelConfig under the key
// "switchyard". "model_type" is "mixtral" or "llama" where that architecture computes the same as our model, else
// "switchyard": other programs then refuse the model rather than compute something else. end_id < 0: no such token.
std::string config_json(const ModelConfig& config, int end_id = -1, Dtype dtype = Dtype::f32);

// Writes model.safetensors and config.json; with a tokenizer also tokenizer.json, tokenizer_config.json and
// generation_config.json. Into an update, which the caller may add files to and must commit; or as one update of `dir`.
void write_model(const DirectoryUpdate& update, Transformer& model, const Tokenizer* tokenizer = nullptr);
void save_model(const std::filesystem::path& dir, Transformer& model, const Tokenizer* tokenizer = nullptr);

// Reads DIR/config.json: our own key if it is there, otherwise the keys of a Mixtral or a Llama. Error, naming the file
// and the key: missing, of the wrong type, out of range, or asking for something that Transformer does not do.
ModelConfig load_config(const std::filesystem::path& dir);

// The model in DIR, its activations of `dtype` and its weights converted to wide(dtype). They are read from
// model.safetensors, or from the several files that model.safetensors.index.json lists. Error as for load_config; also
// for a tensor that is missing, misshapen or not the model's. All three first finish a DirectoryUpdate that was cut
// short.
Transformer load_model(const std::filesystem::path& dir, Dtype dtype = Dtype::f32, Device device = Device::cpu);
// The same into a model that exists; Error if DIR holds one of another shape. Where DIR has no adapters, those of the
// model stay as they are.
void load_weights(const std::filesystem::path& dir, Transformer& model);

}  // namespace switchyard
