// The model's configuration. visit() lists every field once: it makes the flags, --help, the printed configuration,
// the JSON in a checkpoint and the error messages.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "nn/mlp.h"

namespace switchyard {

// A router by its name; moe/routers/list.inc lists them.
struct RouterName {
  std::string_view text = "topk";

  constexpr RouterName() = default;
  constexpr RouterName(const char* name) : text(name) {}
  constexpr RouterName(std::string_view name) : text(name) {}
  constexpr bool operator==(const RouterName&) const = default;
};
constexpr std::string_view name(RouterName router) { return router.text; }
std::span<const std::string_view> router_names();

enum class GateNorm : uint8_t { none, sum_to_one };  // the k gates as they are, or divided by their sum
enum class NormKind : uint8_t { rms, layer };
enum class AttentionKind : uint8_t { grouped, latent };
enum class QkNorm : uint8_t { none, head, whole };
enum class HashTable : uint8_t { random, balanced };
// Who stays when an expert is full: first choices before second ones and so on, and of those the earlier tokens; or
// the tokens whose first choice has the highest gate (Riquelme et al. 2021, section 4, "batch prioritized routing").
enum class DropOrder : uint8_t { position, priority };

// What activations are, and what matrices are multiplied in; weights, the router, statistics and the loss stay f32.
enum class Compute : uint8_t { f32, bf16 };
constexpr Dtype dtype_of(Compute compute) { return compute == Compute::f32 ? Dtype::f32 : Dtype::bf16; }

// Names of an enum's values, for flags and files; the position in the list is the value.
template <class E>
struct EnumNames;
template <>
struct EnumNames<GateNorm> {
  static constexpr std::string_view names[] = {"none", "sum-to-one"};
};
template <>
struct EnumNames<NormKind> {
  static constexpr std::string_view names[] = {"rms", "layer"};
};
template <>
struct EnumNames<Activation> {
  static constexpr std::string_view names[] = {"swiglu", "gelu", "relu", "geglu"};
};
template <>
struct EnumNames<AttentionKind> {
  static constexpr std::string_view names[] = {"grouped", "latent"};
};
template <>
struct EnumNames<QkNorm> {
  static constexpr std::string_view names[] = {"none", "head", "whole"};
};
template <>
struct EnumNames<HashTable> {
  static constexpr std::string_view names[] = {"random", "balanced"};
};
template <>
struct EnumNames<DropOrder> {
  static constexpr std::string_view names[] = {"position", "priority"};
};
template <>
struct EnumNames<Adapters> {
  static constexpr std::string_view names[] = {"none", "attention", "experts", "all"};
};
template <>
struct EnumNames<Device> {
  static constexpr std::string_view names[] = {"cpu", "cuda"};
};
template <>
struct EnumNames<Compute> {
  static constexpr std::string_view names[] = {"f32", "bf16"};
};
template <class E>
constexpr std::string_view name(E value) requires(sizeof(EnumNames<E>::names) > 0) {
  return EnumNames<E>::names[static_cast<int>(value)];
}

struct ModelConfig {
  int vocab = 257;
  int context = 256;
  int layers = 4;
  int width = 128;
  int heads = 4;
  int kv_heads = 4;
  std::optional<int> head_dim;  // none: width / heads
  QkNorm qk_norm = QkNorm::none;
  std::optional<int> window;  // none: attention sees all that came before
  AttentionKind attention = AttentionKind::grouped;
  std::optional<int> query_rank;  // these four: latent attention alone
  int latent_rank = 64;
  int rope_dim = 16;
  int value_dim = 32;

  int ffn = 256;
  Activation activation = Activation::swiglu;
  std::optional<int> dense_ffn;                // of layers without experts; none: ffn
  std::optional<Activation> dense_activation;  // none: activation
  int first_dense = 0;
  int moe_every = 1;
  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tied = false;
  double dropout = 0;
  double init = 0.02;
  std::optional<double> init_scale;  // none: `init` for all matrices

  int experts = 8;
  int top_k = 2;
  int shared_experts = 0;
  std::optional<int> shared_ffn;  // none: ffn
  bool shared_gate = false;
  double expert_dropout = 0;

  RouterName router = "topk";
  GateNorm gate_norm = GateNorm::sum_to_one;
  double gate_scale = 1;
  double jitter = 0;
  Compute router_compute = Compute::f32;
  int groups = 1;
  int group_top_k = 1;
  double bias_rate = 0.001;
  double second_threshold = 0.5;
  HashTable hash_table = HashTable::random;
  int hash_seed = 42;

  std::optional<double> capacity;  // none: dropless
  int min_capacity = 4;
  int capacity_groups = 1;
  DropOrder drop = DropOrder::position;

  double balance = 0.01;
  double z_loss = 0;
  double importance = 0;
  double load = 0;
  double device_balance = 0;
  double communication_balance = 0;

  AdapterConfig adapters;

  constexpr int head_width() const { return head_dim ? *head_dim : width / heads; }
  constexpr bool dense() const { return experts == 1; }
  // Whether layer i, from 0, has experts: not the first ones, and of the others each moe_every-th.
  constexpr bool has_experts(int i) const { return i >= first_dense && (i - first_dense) % moe_every == moe_every - 1; }
  constexpr int shared_width() const { return shared_experts * shared_ffn.value_or(ffn); }
  constexpr int dense_width() const { return dense_ffn.value_or(ffn); }
};

// f(name, field, lowest, highest, help) for numbers; f(name, field, help) for booleans and enums.
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, AdapterConfig>
constexpr void visit(Config& c, F&& f) {
  f("adapters", c.of, "train low-rank adapters of attention, of the experts or of all, and nothing else");
  f("adapter-rank", c.rank, 1, 4096, "their rank (r)");
  f("adapter-alpha", c.alpha, 1e-6, 1e6, "what they add is multiplied with this, divided by the rank");
}
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, ModelConfig>
constexpr void visit(Config& c, F&& f) {
  f("vocab", c.vocab, 2, 1 << 20, "tokens that the vocabulary holds; set by the tokenizer when training");
  f("context", c.context, 1, 1 << 20, "tokens that the model sees at once (T)");
  f("layers", c.layers, 1, 1024, "transformer blocks");
  f("width", c.width, 1, 65536, "width of the residual stream");
  f("heads", c.heads, 1, 1024, "query heads (H)");
  f("kv-heads", c.kv_heads, 1, 1024, "key and value heads (K); heads must be a multiple");
  f("head-dim", c.head_dim, 2, 1024, "width of a head (D), even; default: width / heads");
  f("qk-norm", c.qk_norm, "RMSNorm of queries and keys: of each head (Qwen3), or of all heads as a whole (OLMoE)");
  f("window", c.window, 1, 1 << 20, "tokens back that attention sees, its own among them; default: all");
  f("attention", c.attention, "grouped: heads share keys and values; latent: both from a small vector (DeepSeek-V2)");
  f("query-rank", c.query_rank, 1, 65536, "latent attention: width that queries come from; default: straight from x");
  f("latent-rank", c.latent_rank, 1, 65536, "latent attention: width that keys and values come from");
  f("rope-dim", c.rope_dim, 2, 1024, "latent attention: width of a head's part that is turned, besides --head-dim");
  f("value-dim", c.value_dim, 1, 1024, "latent attention: width of a head's values");
  f("ffn", c.ffn, 1, 1 << 20, "hidden width of one expert, or of the MLP of a dense model (F)");
  f("activation", c.activation, "what an expert applies between its layers");
  f("dense-ffn", c.dense_ffn, 1, 1 << 20, "hidden width of the layers without experts; default: ffn");
  f("dense-activation", c.dense_activation, "what they apply; default: activation");
  f("first-dense", c.first_dense, 0, 1024, "layers without experts at the bottom");
  f("moe-every", c.moe_every, 1, 1024, "above those, each how manieth layer has experts");
  f("norm", c.norm, "normalisation before each sub-layer");
  f("norm-epsilon", c.norm_epsilon, 1e-12, 1.0, "added to the mean square before its root");
  f("rope-theta", c.rope_theta, 1.0, 1e9, "base of the rotary embedding's wavelengths");
  f("tied", c.tied, "use the embedding as output layer too");
  f("dropout", c.dropout, 0.0, 0.99, "share of activations zeroed in training");
  f("init", c.init, 0.0, 1.0, "standard deviation of the initial weights");
  f("init-scale", c.init_scale, 1e-6, 100.0,
    "instead: sqrt(init-scale / inputs), cut off at twice that (Switch: 0.1); default: --init");
  f("experts", c.experts, 1, 4096, "experts per layer (E); 1 is a dense model without a router");
  f("top-k", c.top_k, 1, 4096, "experts that each token visits");
  f("shared-experts", c.shared_experts, 0, 64, "experts that every token visits besides");
  f("shared-ffn", c.shared_ffn, 1, 1 << 20, "hidden width of one of them; default: ffn");
  f("shared-gate", c.shared_gate, "weigh their answer by a sigmoid of the token (Qwen1.5-MoE)");
  f("expert-dropout", c.expert_dropout, 0.0, 0.99, "dropout inside the experts (Switch, fine-tuning: 0.4)");
  f("router", c.router, "how tokens choose experts; ./run route --help has a line on each");
  f("gate-norm", c.gate_norm, "whether topk divides a token's gates by their sum");
  f("gate-scale", c.gate_scale, 1e-6, 1e6, "factor of the gates (DeepSeek-V2: 16, V3: 2.5)");
  f("jitter", c.jitter, 0.0, 0.5, "router input times a uniform number in 1 - jitter .. 1 + jitter, in training");
  f("router-compute", c.router_compute, "what the router's numbers are rounded to; bf16 is for showing the harm");
  f("groups", c.groups, 1, 4096, "groups of experts that DeepSeek's routers choose first");
  f("group-top-k", c.group_top_k, 1, 4096, "how many groups a token may choose experts from");
  f("bias-rate", c.bias_rate, 0.0, 1.0, "deepseek-v3: how far a step moves the bias of a busy or an idle expert");
  f("second-threshold", c.second_threshold, 1e-6, 1.0, "gshard: the second expert's gate that is surely kept");
  f("hash-table", c.hash_table, "hash: tokens to experts at random, or so that experts see equally many");
  f("hash-seed", c.hash_seed, 0, 1 << 30, "hash: which random table");
  f("capacity", c.capacity, 0.01, 4096.0, "an expert's room in training, times the even share; default: dropless");
  f("min-capacity", c.min_capacity, 1, 1 << 20, "least room of an expert when a capacity is set");
  f("capacity-groups", c.capacity_groups, 1, 1 << 20, "parts of a batch in each of which that room is given");
  f("drop", c.drop, "which tokens a full expert keeps: the first, or those with the highest gates");
  f("balance", c.balance, 0.0, 100.0, "coefficient of the load-balancing loss");
  f("z-loss", c.z_loss, 0.0, 100.0, "coefficient of the router's z-loss");
  f("importance", c.importance, 0.0, 100.0, "coefficient of the squared variation of the experts' summed gates");
  f("load", c.load, 0.0, 100.0, "noisy-topk: coefficient of the squared variation of the experts' expected load");
  f("device-balance", c.device_balance, 0.0, 100.0, "deepseek-v2: coefficient of the balance among groups");
  f("communication-balance", c.communication_balance, 0.0, 100.0, "deepseek-v2: that of what groups are sent");
  visit(c.adapters, f);
}

// Error if fields contradict each other; the message says what would happen otherwise.
void validate(const ModelConfig& c);

}  // namespace switchyard
