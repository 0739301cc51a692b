// The model's configuration. visit() lists every field once: it makes the flags, --help, the printed configuration,
// the JSON in a checkpoint and the error messages.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "nn/mlp.h"

namespace switchyard {

enum class RouterKind : uint8_t { topk, switch_top1 };
enum class GateNorm : uint8_t { none, sum_to_one };  // the k gates as they are, or divided by their sum
enum class NormKind : uint8_t { rms, layer };
enum class DropOrder : uint8_t { position, priority };  // who goes first when an expert is full

// What activations are, and what matrices are multiplied in; weights, the router, statistics and the loss stay f32.
enum class Compute : uint8_t { f32, bf16 };
constexpr Dtype dtype_of(Compute compute) { return compute == Compute::f32 ? Dtype::f32 : Dtype::bf16; }

// Names of an enum's values, for flags and files; the position in the list is the value.
template <class E>
struct EnumNames;
template <>
struct EnumNames<RouterKind> {
  static constexpr std::string_view names[] = {"topk", "switch"};
};
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
  static constexpr std::string_view names[] = {"swiglu", "gelu", "relu"};
};
template <>
struct EnumNames<DropOrder> {
  static constexpr std::string_view names[] = {"position", "priority"};
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
  int ffn = 256;
  Activation activation = Activation::swiglu;
  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tied = false;
  double dropout = 0;
  double init = 0.02;

  int experts = 8;
  int top_k = 2;
  int shared_experts = 0;
  RouterKind router = RouterKind::topk;
  GateNorm gate_norm = GateNorm::sum_to_one;
  double jitter = 0;
  std::optional<double> capacity;  // none: dropless
  int min_capacity = 4;
  DropOrder drop = DropOrder::position;
  double balance = 0.01;
  double z_loss = 0;

  constexpr int head_width() const { return head_dim ? *head_dim : width / heads; }
  constexpr bool dense() const { return experts == 1; }
};

// f(name, field, lowest, highest, help) for numbers; f(name, field, help) for booleans and enums.
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
  f("ffn", c.ffn, 1, 1 << 20, "hidden width of one expert, or of the MLP of a dense model (F)");
  f("activation", c.activation, "what an expert applies between its layers");
  f("norm", c.norm, "normalisation before each sub-layer");
  f("norm-epsilon", c.norm_epsilon, 1e-12, 1.0, "added to the mean square before its root");
  f("rope-theta", c.rope_theta, 1.0, 1e9, "base of the rotary embedding's wavelengths");
  f("tied", c.tied, "use the embedding as output layer too");
  f("dropout", c.dropout, 0.0, 0.99, "share of activations zeroed in training");
  f("init", c.init, 0.0, 1.0, "standard deviation of the initial weights");
  f("experts", c.experts, 1, 4096, "experts per layer (E); 1 is a dense model without a router");
  f("top-k", c.top_k, 1, 4096, "experts that each token visits");
  f("shared-experts", c.shared_experts, 0, 64, "experts that every token visits besides");
  f("router", c.router, "topk: softmax over all experts, k best; switch: the best alone, its gate as it is");
  f("gate-norm", c.gate_norm, "whether a token's gates are divided by their sum");
  f("jitter", c.jitter, 0.0, 0.5, "router input times a uniform number in 1 - jitter .. 1 + jitter, in training");
  f("capacity", c.capacity, 0.01, 4096.0, "an expert's room in training, times the even share; default: dropless");
  f("min-capacity", c.min_capacity, 1, 1 << 20, "least room of an expert when a capacity is set");
  f("drop", c.drop, "which tokens a full expert keeps: the first, or those with the highest gates");
  f("balance", c.balance, 0.0, 100.0, "coefficient of the load-balancing loss");
  f("z-loss", c.z_loss, 0.0, 100.0, "coefficient of the router's z-loss");
}

// Error if fields contradict each other; the message says what would happen otherwise.
inline void validate(const ModelConfig& c) {
  check(c.heads % c.kv_heads == 0, "--kv-heads {}: must divide --heads {}", c.kv_heads, c.heads);
  check(c.head_dim || c.width % c.heads == 0, "--heads {}: must divide --width {}, or give --head-dim", c.heads,
        c.width);
  check(c.head_width() % 2 == 0, "--head-dim {}: must be even, for the rotary embedding turns pairs", c.head_width());
  check(c.top_k <= c.experts, "--top-k {}: must be at most --experts {}, or tokens visit experts that do not exist",
        c.top_k, c.experts);
  check(c.dense() || c.top_k > 1 || c.router != RouterKind::topk || c.gate_norm == GateNorm::none,
        "--gate-norm sum-to-one with --top-k 1: use none, or every gate is 1 and the router never learns");
  check(c.router != RouterKind::switch_top1 || c.top_k == 1, "--router switch with --top-k {}: must be 1", c.top_k);
}

}  // namespace switchyard
