#include "moe/router.h"

#include <algorithm>
#include <numeric>

#include "moe/config_io.h"

namespace switchyard {

#define ROUTER(NAME) extern const RouterInfo NAME##_router;
#include "moe/routers/list.inc"
#undef ROUTER

namespace {
const RouterInfo* const list[] = {
#define ROUTER(NAME) &NAME##_router,
#include "moe/routers/list.inc"
#undef ROUTER
};
}  // namespace

std::span<const RouterInfo* const> routers() { return list; }

std::span<const std::string_view> router_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const RouterInfo* router : list) all.push_back(router->name);
    return all;
  }();
  return names;
}

const RouterInfo& find_router(std::string_view name) {
  std::vector<std::string> names;
  for (const RouterInfo* router : list) {
    if (router->name == name) return *router;
    names.emplace_back(router->name);
  }
  fail("--router {}: no such router; did you mean {}?", name, nearest(name, names));
}

std::unique_ptr<Router> make_router(const ModelConfig& config, Init& init) {
  validate(config);
  return find_router(config.router.text).make(config, init);
}

Tensor masked(const Tensor& choice, std::span<const uint8_t> valid) {
  if (valid.empty()) return choice;
  const Tensor result = choice.device() == Device::cpu ? choice.clone() : choice.to(Device::cpu);
  const int64_t k = choice.cols();
  for (int64_t t = 0; t < choice.rows(); ++t)
    if (!valid[static_cast<size_t>(t)]) std::fill_n(result.data<int32_t>() + t * k, k, -1);
  return result.to(choice.device());
}

bool draws(const RouterInput& input) { return input.pass && input.pass->training && input.pass->random; }

Var router_view(const RouterInput& input, const ModelConfig& config) {
  Var x = cast(input.x, wide(input.x.dtype()));
  if (config.jitter > 0 && draws(input)) x = jitter(x, config.jitter, input.pass->key());
  return config.router_compute == Compute::bf16 ? round_to_bf16(x) : x;
}

Var router_logits(const Var& view, const Linear& weight, const ModelConfig& config) {
  if (config.router_compute == Compute::f32) return weight(view);
  return round_to_bf16(linear(view, round_to_bf16(weight.weight)));
}

Selection propose(const Tensor& choice, const Var& gate, const RouterInput& input) {
  //@begin propose
  const int64_t T = choice.rows(), k = choice.cols();
  Selection selection;
  selection.token = proposing_tokens(T, k, choice.device());
  selection.expert = masked(choice, input.valid).reshape({T * k});
  selection.gate = reshape(gate, {T * k});
  selection.ranks = k;
  //@end propose
  return selection;
}

Tensor on_device(const std::vector<int32_t>& choice, const Var& like) {
  const int64_t rows = like.shape()[0], k = rows ? static_cast<int64_t>(choice.size()) / rows : 0;
  return Tensor::from(choice, {rows, k}).to(like.value().device());
}

Selection propose(const std::vector<int32_t>& choice, const Var& gate, const RouterInput& input) {
  return propose(on_device(choice, gate), gate, input);
}

std::vector<int32_t> highest(std::span<const double> row, int64_t k) {
  std::vector<int32_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[size_t(a)] > row[size_t(b)]; });
  order.resize(static_cast<size_t>(k));
  return order;
}

void validate(const ModelConfig& c) {
  check(c.heads % c.kv_heads == 0, "--kv-heads {}: must divide --heads {}", c.kv_heads, c.heads);
  check(c.head_dim || c.width % c.heads == 0, "--heads {}: must divide --width {}, or give --head-dim", c.heads,
        c.width);
  const bool latent = c.attention == AttentionKind::latent;
  const int turned = latent ? c.rope_dim : c.head_width();
  check(turned % 2 == 0, "{} {}: must be even, for the rotary embedding turns pairs",
        latent ? "--rope-dim" : "--head-dim", turned);
  check(!latent || c.kv_heads == c.heads,
        "--attention latent with --kv-heads {}: must be --heads {}, for each head makes its own keys from the latent "
        "vector",
        c.kv_heads, c.heads);
  check(!latent || (!c.window && c.qk_norm == QkNorm::none),
        "--attention latent: goes with neither --window nor --qk-norm");
  const RouterInfo& router = find_router(c.router.text);  // also where it is of no use
  check(c.top_k <= c.experts, "--top-k {}: must be at most --experts {}, or tokens visit experts that do not exist",
        c.top_k, c.experts);
  if (c.dense()) return;
  check(c.first_dense + c.moe_every <= c.layers,
        "--first-dense {} and --moe-every {}: of --layers {} none would have experts; --experts 1 says so",
        c.first_dense, c.moe_every, c.layers);
  check(!c.shared_gate || c.shared_experts > 0, "--shared-gate: needs --shared-experts, or there is nothing to weigh");
  check(c.experts % c.groups == 0, "--groups {}: must divide --experts {}, or some group is smaller", c.groups,
        c.experts);
  check(c.group_top_k <= c.groups, "--group-top-k {}: must be at most --groups {}", c.group_top_k, c.groups);
  check(c.gate_scale == 1 || router.scales_gates,
        "--gate-scale with --router {}: leave it out, for this router's gates stay as its paper has them", router.name);
  if (router.check) router.check(c);
}

}  // namespace switchyard
