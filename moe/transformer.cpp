#include "moe/transformer.h"

#include <algorithm>
#include <cmath>

namespace switchyard {
namespace {

Attention grouped_attention(const ModelConfig& c, double out_deviation, Init& init) {
  Attention attention(c.width, {c.heads, c.kv_heads, c.head_width()}, c.rope_theta, c.init, out_deviation, init);
  if (c.window) attention.window = *c.window;
  if (c.qk_norm != QkNorm::none) attention.norm_queries_and_keys(c.qk_norm == QkNorm::whole, c.norm_epsilon, init);
  return attention;
}

LatentAttention latent_attention(const ModelConfig& c, double out_deviation, Init& init) {
  const LatentWidths widths{c.heads, c.head_width(), c.rope_dim, c.value_dim, c.latent_rank, c.query_rank};
  return {c.width, widths, c.rope_theta, c.norm_epsilon, c.init, out_deviation, init};
}

}  // namespace

Transformer::Transformer(const ModelConfig& c, uint64_t seed, Dtype dtype, Device device)
    : config_(c), dtype_(dtype), device_(device) {
  validate(c);
  Init init(seed, wide(dtype), device, c.init_scale);
  const bool layer_norm = c.norm == NormKind::layer;
  // Each block adds two results to the residual stream; smaller ones keep its variance in bounds (GPT-2).
  //@begin out-deviation
  const double out_deviation = c.init / std::sqrt(2.0 * c.layers);
  //@end out-deviation
  embedding_ = Embedding(c.vocab, c.width, c.init, init);
  for (int i = 0; i < c.layers; ++i) {
    Block block{.attention_norm = Norm(c.width, c.norm_epsilon, layer_norm, init),
                .ffn_norm = Norm(c.width, c.norm_epsilon, layer_norm, init)};
    if (c.attention == AttentionKind::latent)
      block.latent = latent_attention(c, out_deviation, init);
    else
      block.attention = grouped_attention(c, out_deviation, init);
    if (!c.has_experts(i))
      block.mlp.emplace(c.width, c.dense_width(), c.dense_activation.value_or(c.activation), c.init, out_deviation,
                        init);
    else if (c.dense())
      block.mlp.emplace(c.width, c.ffn, c.activation, c.init, out_deviation, init);
    else
      block.moe.emplace(c, out_deviation, init);
    const auto adapt = [&](auto& part) {
      if (part) part->adapt(c.adapters, init);
    };
    if (c.adapters.rank_in(Adapters::attention)) adapt(block.attention), adapt(block.latent);
    if (c.adapters.rank_in(Adapters::experts)) adapt(block.mlp), adapt(block.moe);
    blocks_.push_back(std::move(block));
  }
  norm_ = Norm(c.width, c.norm_epsilon, layer_norm, init);
  if (!c.tied) head_ = Linear(c.width, c.vocab, c.init, init);
}

ForwardResult Transformer::operator()(const Tensor& tokens, const ForwardOptions& options) {
  const int64_t B = tokens.shape()[0], T = tokens.shape()[1];
  if (B <= 0) fail("tokens of shape {}: needs at least one sequence", tokens.shape().text());
  const int64_t before = options.cache ? options.cache->at(0).length : 0;
  check(before + T <= config_.context, "{} tokens: the context holds {}", before + T, config_.context);
  const auto drop = [&](const Var& x) {
    return options.pass && options.pass->training ? dropout(x, config_.dropout, options.pass->key()) : x;
  };
  ForwardResult result;
  Var x = drop(cast(embedding_(tokens.reshape({B * T})), dtype_));  // (B T, C), the residual stream
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    KeyValueCache* cache = options.cache ? &options.cache->at(i) : nullptr;
    //@begin block
    x = add(x, drop(block.attend(block.attention_norm(x), B, cache)));
    const Var y = feed_forward(block, block.ffn_norm(x), tokens, options, result);
    x = add(x, drop(y));
    //@end block
  }
  if (options.last_only) {
    std::vector<int32_t> last(static_cast<size_t>(B));
    for (int64_t b = 0; b < B; ++b) last[static_cast<size_t>(b)] = static_cast<int32_t>(b * T + T - 1);
    x = gather_rows(x, Tensor::from(last, {B}).to(device_));
  }
  //@begin logits
  result.logits = linear(norm_(x), head_ ? head_->weight : embedding_.weight);
  //@end logits
  //@begin mean-over-layers
  const double layers = double(result.routes.size());
  for (AuxTerm& term : result.aux) term.value = scale(term.value, 1 / layers);
  //@end mean-over-layers
  return result;
}

Var Transformer::feed_forward(Block& block, const Var& x, const Tensor& tokens, const ForwardOptions& options,
                              ForwardResult& result) {
  if (block.mlp) return (*block.mlp)(x);
  const int64_t T = tokens.shape()[1];
  std::vector<int32_t> sequence(static_cast<size_t>(tokens.count()));
  for (size_t i = 0; i < sequence.size(); ++i) sequence[i] = static_cast<int32_t>(static_cast<int64_t>(i) / T);
  const RouterInput input{.x = x,
                          .token_id = {tokens.data<int32_t>(), sequence.size()},
                          .sequence = sequence,
                          .valid = options.valid,
                          .pass = options.pass};
  const size_t layer = result.routes.size();
  check(!options.replay || layer < options.replay->size(), "replay of {} layers: the model has more", layer);
  const RoutingPlan* replay = options.replay ? &(*options.replay)[layer].plan : nullptr;
  MoeOutput out = (*block.moe)(input, replay);
  for (AuxTerm& term : out.aux) {  // sums over the layers; the caller divides
    const auto same = [&](const AuxTerm& other) { return other.name == term.name; };
    const auto found = std::find_if(result.aux.begin(), result.aux.end(), same);
    if (found == result.aux.end())
      result.aux.push_back(std::move(term));
    else
      found->value = add(found->value, term.value);
  }
  result.routes.push_back(std::move(out.route));
  return out.y;
}

void Transformer::visit(const ParamVisitor& f) {
  embedding_.visit("embedding", f);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    blocks_[i].attention_norm.visit(name + ".attention_norm", f);
    if (blocks_[i].attention) blocks_[i].attention->visit(name + ".attention", f);
    if (blocks_[i].latent) blocks_[i].latent->visit(name + ".attention", f);
    blocks_[i].ffn_norm.visit(name + ".ffn_norm", f);
    if (blocks_[i].mlp) blocks_[i].mlp->visit(name + ".mlp", f);
    if (blocks_[i].moe) blocks_[i].moe->visit(name + ".moe", f);
  }
  norm_.visit("norm", f);
  if (head_) head_->visit("head", f);
}

void Transformer::after_step(const std::vector<std::vector<int64_t>>& load) {
  size_t layer = 0;
  for (Block& block : blocks_)
    if (block.moe) block.moe->router().after_step(load.at(layer++));
}

void Transformer::see_text(std::span<const int64_t> occurrences) {
  for (Block& block : blocks_)
    if (block.moe) block.moe->router().see_text(occurrences);
}

bool Transformer::causal() const {
  return std::all_of(blocks_.begin(), blocks_.end(),
                     [](const Block& b) { return !b.moe || const_cast<MoeLayer&>(*b.moe).router().causal(); });
}

}  // namespace switchyard
