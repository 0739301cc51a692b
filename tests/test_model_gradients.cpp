// The gradient of every parameter of a mixture-of-experts layer with each router, and of whole transformers.
#include "moe/size.h"
#include "tests/gradients.h"
#include "tests/moe_models.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// The smallest distance between neighbours in the order of experts, down to the first that is not chosen. Where it is
// wide, the small steps of a gradient check change neither the choices nor their order.
double margin(const Route& route, int64_t k) {
  double least = 1;
  for (int64_t t = 0; t < route.probability.rows(); ++t) {
    Numbers p = route.probability.rows(t, t + 1).values();
    std::sort(p.rbegin(), p.rend());
    for (size_t i = 0; i < size_t(k) && i + 1 < p.size(); ++i) least = std::min(least, p[i] - p[i + 1]);
  }
  return least;
}

Var with_aux(Var loss, const std::vector<AuxTerm>& aux) {
  for (const AuxTerm& term : aux) loss = add(loss, scale(term.value, term.coefficient));
  return loss;
}

// Every parameter of a layer of `c` and its input, with the routes of the first pass. Auxiliary losses count as much as
// the output does, so that no error in them is small.
void check_layer(Worst& worst, ModelConfig c, const std::string& what, bool training = false, const Mask& valid = {}) {
  c.width = 5, c.ffn = 3, c.init = 0.7, c.head_dim = 2, c.balance = 0.7, c.z_loss = 0.3;
  for (uint64_t seed = 1; seed < 100; ++seed) {
    Init i(seed, Dtype::f64);
    MoeLayer layer(c, 0.7, i);
    const Var x = normal_leaf({7, c.width}, 9);
    Pass pass{.training = training, .seed = 5};
    const auto run = [&](const RoutingPlan* replay) {
      pass.next_stream = 0;
      return layer({.x = x, .valid = valid, .pass = &pass}, replay);
    };
    const Route route = run(nullptr).route;
    if (margin(route, c.top_k) < 0.01) continue;
    if (c.capacity) REQUIRE(sum_of(route.plan.dropped) > 0);
    const auto loss = [&](const RoutingPlan* replay) {
      const MoeOutput out = run(replay);
      return with_aux(weighted_loss(out.y), out.aux);
    };
    const Parameters list = with_input(parameters(layer), x);
    const auto gradients = [&](const RoutingPlan* replay) {
      std::vector<Numbers> all;
      for (const auto& [name, parameter] : list) Var(parameter).clear_grad();
      backward(loss(replay));
      for (const auto& [name, parameter] : list) all.push_back(gradient(parameter));
      return all;
    };
    CHECK(gradients(nullptr) == gradients(&route.plan));  // the plan that the router makes anyway
    return check_gradients(
        what, [&] { return loss(&route.plan); }, list, worst);
  }
  FAIL("no seed with wide margins: " << what);
}

ModelConfig four_experts() { return {.experts = 4}; }

}  // namespace

TEST_SUITE_BEGIN("gradients: mixture of experts");

TEST_CASE("plain routers: gradients of the router, the experts and the input, auxiliary losses included") {
  Worst worst;
  for (const ModelConfig& c : plain_routers(four_experts())) check_layer(worst, c, text(c));
  MESSAGE(worst.text());
}

TEST_CASE("every activation, with shared experts") {
  Worst worst;
  for (Activation activation : {Activation::swiglu, Activation::gelu}) {  // relu has kinks where the step may fall
    ModelConfig c = four_experts();
    c.activation = activation, c.shared_experts = 2;
    check_layer(worst, c, "shared experts, " + std::string(name(activation)));
  }
  MESSAGE(worst.text());
}

TEST_CASE("experts under plans with idle experts, dropped tokens and several slots of one expert") {
  Worst worst;
  for (RoutingPlan plan : plans()) {
    if (plan.slots == 0) continue;
    Init i(1, Dtype::f64);
    Experts experts(plan.experts, 4, 3, Activation::swiglu, 1, 1, i);
    const Var x = normal_leaf({plan.tokens, 4}, 10), gate = normal_leaf({plan.slots}, 11);
    plan.gate = gate;
    Parameters list = with_input(parameters(experts), x);
    list.emplace_back("gate", gate);
    const std::string what = fmt::format("{} slots of {} experts", plan.slots, plan.experts);
    check_gradients(
        what, [&] { return experts(x, plan); }, list, worst);
    for (int64_t e = 0; e < plan.experts; ++e) {
      const bool idle = plan.offset.data<int32_t>()[e] == plan.offset.data<int32_t>()[e + 1];
      const Numbers all = gradient(experts.in.weight);
      CHECK((largest(Numbers(&all[size_t(e * 24)], &all[size_t(e * 24)] + 24)) == 0) == idle);
    }
  }
  MESSAGE(worst.text());
}

TEST_CASE("dropped tokens, padding and jitter") {
  Worst worst;
  for (ModelConfig c : plain_routers(four_experts())) {
    if (c.top_k > 2) continue;
    for (DropOrder drop : {DropOrder::position, DropOrder::priority}) {
      c.drop = drop, c.capacity = 0.5, c.min_capacity = 1;
      check_layer(worst, c, text(c) + ", drop by " + std::string(name(drop)), true);
    }
    c.capacity.reset(), c.jitter = 0.2;
    check_layer(worst, c, text(c) + ", jitter", true);
    check_layer(worst, c, text(c) + ", padding", false, {1, 1, 0, 1, 0, 1, 1});
  }
  MESSAGE(worst.text());
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("gradients: transformer");

namespace {

// A training step's loss: cross-entropy's mean over targets, one of which is none, and the auxiliary terms.
void check_model(Worst& worst, const ModelConfig& c, const std::string& what) {
  const Tensor tokens = random_tokens(2, 4, c.vocab, 3);
  const Tensor targets = Tensor::from(Ints{1, 0, 3, -1, 6, 2, 2, 5}, {8});
  for (uint64_t seed = 1; seed < 100; ++seed) {
    Transformer model(c, seed, Dtype::f64);
    scramble(parameters(model), 0.45, seed);
    const auto run = [&](const std::vector<Route>* replay) {
      Pass pass{.training = true, .seed = 9};
      return model(tokens, {.pass = &pass, .replay = replay});
    };
    const std::vector<Route> routes = run(nullptr).routes;
    int with_experts = 0;
    for (int i = 0; i < c.layers; ++i) with_experts += !c.dense() && c.has_experts(i);
    REQUIRE(int(routes.size()) == with_experts);
    double least = 1;
    for (const Route& route : routes) least = std::min(least, margin(route, c.top_k));
    if (least < 0.04) continue;
    const auto loss = [&] {
      const ForwardResult out = run(&routes);
      return with_aux(mean(cross_entropy(out.logits, targets)), out.aux);
    };
    Parameters list = parameters(model);
    int64_t elements = 0;
    for (const auto& [name, parameter] : list) elements += parameter.value().count();
    CHECK(elements == total_params(c));
    return check_gradients(what, loss, list, worst);
  }
  FAIL("no seed with wide margins: " << what);
}

// The large epsilon keeps a norm of a row near zero from bending within a step of the differences.
const ModelConfig small{.vocab = 7,
                        .context = 4,
                        .layers = 2,
                        .width = 6,
                        .heads = 2,
                        .kv_heads = 1,
                        .head_dim = 2,
                        .ffn = 4,
                        .norm_epsilon = 0.05,
                        .experts = 3,
                        .balance = 0.5,
                        .z_loss = 0.2};

}  // namespace

TEST_CASE("every parameter of a whole mixture of experts") {
  Worst worst;
  ModelConfig c = small;
  check_model(worst, c, "Mixtral-like");
  c.tied = true, c.shared_experts = 1, c.gate_norm = GateNorm::none, c.dropout = 0.25;
  check_model(worst, c, "tied, shared expert, plain gates, dropout");
  c.router = "switch", c.top_k = 1, c.norm = NormKind::layer, c.activation = Activation::gelu;
  c.capacity = 0.7, c.min_capacity = 1, c.jitter = 0.1, c.tied = false, c.shared_experts = 0;
  check_model(worst, c, "Switch, layer norm, gelu, capacity, jitter");
  MESSAGE(worst.text());
}

TEST_CASE("every parameter of a whole model with each kind of attention") {
  Worst worst;
  ModelConfig c = small;
  c.first_dense = 1, c.dense_ffn = 5;
  c.norm_epsilon = 0.2;  // two numbers are normed, and may both be near zero
  for (const auto& [what, config] : all_attentions(c)) check_model(worst, config, what);
  MESSAGE(worst.text());
}

TEST_CASE("every parameter of a whole model with low-rank adapters") {
  Worst worst;
  ModelConfig c = small;
  c.adapters = {.of = Adapters::all, .rank = 2, .alpha = 3};
  c.shared_experts = 1, c.layers = 1;
  check_model(worst, c, "adapters of experts, a shared one, and attention");
  c.first_dense = 1, c.layers = 2, c.shared_experts = 0, c.adapters.rank = 1, c.norm_epsilon = 0.2;
  check_model(worst, all_attentions(c).back().second, "adapters of latent attention and an MLP");
  MESSAGE(worst.text());
}

TEST_CASE("every parameter of a whole dense transformer") {
  Worst worst;
  ModelConfig c = small;
  c.experts = c.top_k = 1, c.gate_norm = GateNorm::none;
  check_model(worst, c, "Llama-like");
  c.tied = true, c.norm = NormKind::layer, c.activation = Activation::gelu, c.kv_heads = 2;
  check_model(worst, c, "tied, layer norm, gelu");
  MESSAGE(worst.text());
}

TEST_CASE("a model's f32 gradients equal those of f64, in sizes that fill vectors and tiles") {
  Worst worst;
  ModelConfig sized{.vocab = 67, .context = 75, .layers = 2, .width = 48, .heads = 4, .kv_heads = 2, .ffn = 37};
  sized.experts = 5, sized.gate_norm = GateNorm::none, sized.balance = 1, sized.z_loss = 0.1;
  std::vector<ModelConfig> configs{sized, sized};
  configs[0].experts = configs[0].top_k = 1;
  for (const auto& [what, config] : all_attentions(sized)) configs.push_back(config);
  for (const ModelConfig& c : configs) {
    Transformer narrow = lively_model(c), wide(c, 1, Dtype::f64);
    const Parameters a = parameters(narrow), b = parameters(wide);
    for (size_t p = 0; p < a.size(); ++p) set(b[p].second, a[p].second.value().values());
    const Tensor tokens = random_tokens(2, 75, c.vocab, 7), targets = random_tokens(1, 150, c.vocab, 8);
    const std::vector<Route> routes = wide(tokens).routes;
    for (Transformer* model : {&narrow, &wide}) {
      const ForwardResult out = (*model)(tokens, {.replay = &routes});
      backward(with_aux(mean(cross_entropy(out.logits, targets)), out.aux));
    }
    for (size_t p = 0; p < a.size(); ++p) {
      const Numbers want = gradient(b[p].second);
      const double error = largest_difference(gradient(a[p].second), want) / largest(want);
      CAPTURE(a[p].first);
      CHECK(error <= 5e-5);
      worst.see(error, a[p].first, int64_t(want.size()));
    }
  }
  MESSAGE(worst.text());
}

TEST_CASE("changing a token changes no bit of the logits before it, through any router and attention") {
  std::vector<ModelConfig> configs = all_routers(small);
  for (const auto& [what, config] : all_attentions(small)) configs.push_back(config);
  for (ModelConfig c : configs) {
    if (c.router == "expert-choice") continue;
    c.context = 40;
    Transformer model(c, 1, Dtype::f32);
    REQUIRE(model.causal());
    const Tensor tokens = random_tokens(2, 40, c.vocab, 4);
    const Numbers before = model(tokens).logits.value().values();
    for (int64_t changed : {0, 1, 20, 39}) {
      const Tensor other = tokens.clone();
      other.data<int32_t>()[changed] = (other.data<int32_t>()[changed] + 1) % c.vocab;
      const Numbers after = model(other).logits.value().values();
      const auto same = [&](int64_t first, int64_t last) {
        return std::equal(&before[size_t(first * c.vocab)], &before[size_t(last * c.vocab)],
                          &after[size_t(first * c.vocab)]);
      };
      CAPTURE(text(c));
      CAPTURE(changed);
      CHECK((changed == 0 || same(0, changed)));
      CHECK(!same(changed, changed + 1));
      CHECK(same(40, 79));
    }
  }
}

TEST_SUITE_END();
