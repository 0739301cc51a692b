// Mistakes that other projects shipped, continued: those of a whole model, of training and of memory.
#include <sys/mman.h>

#include <map>
#include <type_traits>

#include "moe/config_io.h"
#include "tensor/kernels.h"
#include "tests/moe_models.h"
#include "train/optimizer.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

std::map<std::string, Numbers> parameters(Transformer& model) {
  std::map<std::string, Numbers> all;
  model.visit([&](const std::string& name, Var& p) {
    if (p.requires_grad()) all[name] = p.value().values();
  });
  return all;
}

// `steps` steps of training on the same tokens; returns the load of each layer's experts, added up.
std::vector<Ints> train(Transformer& model, const Tensor& tokens, int64_t steps, const TrainConfig& config) {
  Optimizer optimizer(model, config);
  std::vector<Ints> load(size_t(model.config().layers), Ints(size_t(model.config().experts), 0));
  const Tensor targets = tokens.reshape({tokens.count()});
  for (int64_t step = 0; step < steps; ++step) {
    const ForwardResult r = forward(model, tokens, true, uint64_t(step));
    Var loss = mean(cross_entropy(r.logits, targets));
    for (const AuxTerm& a : r.aux) loss = add(loss, scale(a.value, a.coefficient));
    backward(loss);
    optimizer.step(1e-3, 1);
    for (size_t layer = 0; layer < load.size(); ++layer)
      for (size_t e = 0; e < load[layer].size(); ++e) load[layer][e] += ints(r.routes[layer].plan.proposed)[e];
  }
  return load;
}

// Changes the tokens of sequence 0 from `at` on, one of them or all, and checks that the rows before, and the other
// sequence, keep their bits. All: to the same token, so that some experts get many more tokens than before. In training
// what is dropped later changes how many rows a product has, and with it the order of sums: then all but rounding.
void check_causal(Transformer& model, const Tensor& tokens, int64_t at, bool training) {
  const int64_t T = tokens.shape()[1], V = model.config().vocab, rows = tokens.count();
  const Tensor before = forward(model, tokens, training).logits.value();
  const double rounding = before.dtype() == Dtype::f64 ? 1e-12 : 1e-4;
  for (bool all : {false, true}) {
    const Tensor changed = tokens.clone();
    int32_t* id = changed.data<int32_t>();
    id[at] = (id[at] + 1) % int32_t(V);
    for (int64_t t = at + 1; all && t < T; ++t) id[t] = id[at];
    const Tensor after = forward(model, changed, training).logits.value();
    if (training)
      CHECK(distance(before.rows(0, at).values(), after.rows(0, at).values()) < rounding);
    else
      CHECK(same_bits(before.rows(0, at), after.rows(0, at)));
    CHECK_FALSE(same_bits(before.rows(at, at + 1), after.rows(at, at + 1)));  // the change does arrive
    CHECK(same_bits(before.rows(T, rows), after.rows(T, rows)));
  }
}

// Address space without memory behind it until it is written to; null if the system gives none.
struct Reserved {
  size_t bytes;
  void* data;
  explicit Reserved(size_t n)
      : bytes(n), data(mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (data == MAP_FAILED) data = nullptr;
  }
  Reserved(const Reserved&) = delete;
  ~Reserved() {
    if (data) munmap(data, bytes);
  }
  float* floats() const { return static_cast<float*>(data); }
};

}  // namespace

TEST_SUITE_BEGIN("pitfalls");

TEST_CASE("pitfall 13: a later token changes no earlier logit, bit for bit, nor another sequence's") {
  ModelConfig base = tiny();
  base.width = 48, base.ffn = 40;
  for (ModelConfig c : all_routers(base))
    for (Dtype dtype : {Dtype::f32, Dtype::f64}) {
      c.capacity = 1.0, c.min_capacity = 1, c.drop = DropOrder::priority;  // of no effect outside training
      if (c.router == "soft") c.capacity.reset();
      INFO(text(c), " ", std::string(name(dtype)));
      Transformer model = lively_model(c, dtype);
      CHECK(model.causal() == (c.router != "expert-choice"));
      if (!model.causal()) continue;
      const Tensor tokens = random_tokens(2, 45, c.vocab);
      for (int64_t at : {1, 17, 44}) check_causal(model, tokens, at, false);
      // First come, first served does not look ahead either, where there are no second choices.
      if (c.top_k > 1 || is_any_of(c, {"base", "sinkhorn"})) continue;  // these two look at all tokens in training
      c.drop = DropOrder::position;
      Transformer limited = lively_model(c, dtype);
      for (int64_t at : {1, 17, 44}) check_causal(limited, tokens.rows(0, 1), at, true);
    }
}

TEST_CASE("pitfall 14: an expert without a token has a gradient of zeros, in memory full of NaNs") {
  Poison poison;
  for (bool padding_only : {false, true})
    for (Dtype dtype : {Dtype::f32, Dtype::f64})
      for (ModelConfig c : all_routers({.width = 8, .heads = 1, .kv_heads = 1, .ffn = 6, .experts = 7})) {
        INFO(text(c), " ", std::string(name(dtype)), " padding only ", padding_only);
        MoeLayer layer = lively_layer(c, dtype, 2);
        const Var x(Tensor::from(normal_numbers(2 * 8, 3), {2, 8}, dtype), true);
        const Mask valid(2, !padding_only);
        const MoeOutput out = layer({.x = x, .token_id = Ints{3, 4}, .valid = valid});
        Var loss = sum(multiply(out.y, out.y));
        for (const AuxTerm& a : out.aux) loss = add(loss, a.value);
        CHECK(std::isfinite(loss.value().item()));
        backward(loss);
        const Ints load = ints(out.route.plan.proposed);
        const int64_t each = c.router == "expert-choice" ? 7 : 2 * c.top_k;  // one token for each of 7 experts
        CHECK(sum_of(out.route.plan.proposed) == (padding_only ? 0 : each));
        layer.visit("", [&](const std::string& name, Var& p) {
          if (!p.requires_grad() || name.ends_with("noise_weight")) return;  // noise is training's
          REQUIRE(p.grad().defined());
          for (double g : p.grad().values()) REQUIRE(std::isfinite(g));
          if (name.find("experts") == std::string::npos) return;
          for (int64_t e = 0; e < 7; ++e)
            CHECK((sum_squares(p.grad().rows(e, e + 1)).item() == 0) == (load[size_t(e)] == 0));
        });
        for (double g : x.grad().values()) CHECK(std::isfinite(g));
      }
}

TEST_CASE("pitfall 15: after some steps of training every expert has moved") {
  for (const ModelConfig& c : all_routers(tiny())) {
    INFO(text(c));
    Transformer model = lively_model(c);
    const std::map<std::string, Numbers> before = parameters(model);
    const TrainConfig config{.weight_decay = 0};  // or decay would move what no gradient does
    const std::vector<Ints> load = train(model, random_tokens(4, 40, c.vocab), 6, config);
    for (const auto& [name, after] : parameters(model)) {
      INFO(name);
      const Numbers& old = before.at(name);
      const int64_t parts = name.find("moe") == std::string::npos ? 1 : c.experts, size = int64_t(old.size()) / parts;
      for (int64_t e = 0; e < parts; ++e) {
        if (parts > 1) REQUIRE(load[size_t(name[7] - '0')][size_t(e)] > 0);
        int64_t moved = 0;
        for (int64_t i = e * size; i < (e + 1) * size; ++i) moved += old[size_t(i)] != after[size_t(i)];
        CHECK(moved > 9 * size / 10);
      }
    }
  }
}

TEST_CASE("pitfall 16: a replay uses the slots of the first pass, whatever the router would choose now") {
  for (ModelConfig c : all_routers(tiny())) {
    if (c.top_k == c.experts || c.router == "hash") continue;  // there is nothing to choose
    c.jitter = 0.5, c.capacity = 1.0, c.min_capacity = 1;
    INFO(text(c));
    Transformer model = lively_model(c);
    const Tensor tokens = random_tokens(2, 40, c.vocab);
    const ForwardResult first = forward(model, tokens, true, 1);
    CHECK(same_bits(first.logits.value(), forward(model, tokens, true, 1, &first.routes).logits.value()));
    const ForwardResult other = forward(model, tokens, true, 2);
    if (c.router == "expert-choice") {  // proposes (token, expert) pairs alone that it chose: others do not fit a plan
      CHECK(error_of([&] { forward(model, tokens, true, 2, &first.routes); }).starts_with("replay: "));
      continue;
    }
    const ForwardResult again = forward(model, tokens, true, 2, &first.routes);
    REQUIRE(again.routes.size() == 2);
    for (size_t layer = 0; layer < 2; ++layer) {
      const RoutingPlan &a = first.routes[layer].plan, &b = again.routes[layer].plan;
      CHECK(plain(a) == plain(b));
      CHECK_FALSE(ints(a.slot_proposal) == ints(other.routes[layer].plan.slot_proposal));
      CHECK(b.gate.requires_grad());
      CHECK(distance(a.gate.value().values(), b.gate.value().values()) > 1e-3);  // made anew
    }
  }
}

TEST_CASE("pitfall 17: an expert's weights may begin beyond 2^32 bytes and 2^31 elements") {
  static_assert(std::is_same_v<decltype(Shape{}.count()), int64_t>);
  CHECK(Shape{4096, 28672, 8192}.count() == 962'072'674'304);
  constexpr int64_t E = 32770, side = 256;  // the last expert's weights begin at element 2^31 + 65536
  const Reserved w(sizeof(float) * E * side * side);
  if (!w.data) {
    MESSAGE("no address space of 9 GB here: not tested");
    return;
  }
  const Numbers weight = normal_numbers(side * side, 1), x = normal_numbers(side, 2);
  std::copy(weight.begin(), weight.end(), w.floats() + (E - 1) * side * side);
  const std::vector<float> row(x.begin(), x.end());
  std::vector<float> y(side), dx(side);
  Ints offset(E + 1, 0);
  offset[E] = 1;
  const Kernels<float>& kernel = kernels<float>(Device::cpu);
  kernel.grouped_forward(1, E, side, side, offset.data(), nullptr, row.data(), w.floats(), y.data());
  CHECK(distance(Numbers(y.begin(), y.end()), times(weight.data(), side, x)) < 1e-4);
  kernel.grouped_backward_input(1, E, side, side, offset.data(), row.data(), w.floats(), dx.data());
  Numbers transposed(weight.size());
  for (size_t r = 0; r < side; ++r)
    for (size_t c = 0; c < side; ++c) transposed[c * side + r] = weight[r * side + c];
  CHECK(distance(Numbers(dx.begin(), dx.end()), times(transposed.data(), side, x)) < 1e-4);
  const int32_t last = E * side - 1;
  kernel.gather_rows(1, side, &last, w.floats(), y.data());
  CHECK(std::equal(y.begin(), y.end(), w.floats() + int64_t{last} * side));
}

TEST_CASE("pitfall 18: the router's mathematics is f32 at least, and its choices are those of f64") {
  for (const ModelConfig& c : all_routers({.width = 64, .ffn = 2, .experts = 8})) {
    INFO(text(c));
    MoeLayer single = lively_layer(c, Dtype::f32, 4), exact = lively_layer(c, Dtype::f64, 4);
    if (c.router != "hash") set(parameter(exact, "router.weight"), parameter(single, "router.weight").value().values());
    const Tensor x = Tensor::from(normal_numbers(2000 * 64, 5), {2000, 64});
    const Ints words(2000, 4);
    const MoeOutput a = single({.x = Var(x), .token_id = words});
    const MoeOutput b = exact({.x = Var(Tensor::from(x.values(), x.shape(), Dtype::f64)), .token_id = words});
    CHECK((a.route.probability.dtype() == Dtype::f32 && b.route.probability.dtype() == Dtype::f64));
    CHECK(distance(a.route.probability.values(), b.route.probability.values()) < 2e-6);
    CHECK(plain(a.route.plan) == plain(b.route.plan));  // no two of these logits are within f32's error of each other
  }
}

TEST_CASE("pitfall 20: auxiliary terms do not pile up from call to call") {
  ModelConfig c = tiny();
  c.z_loss = 0.001;
  Transformer model = lively_model(c);
  const Tensor tokens = random_tokens(1, 12, c.vocab), others = random_tokens(2, 30, c.vocab, 9);
  const std::vector<AuxTerm> first = forward(model, tokens, true).aux;
  REQUIRE(first.size() == 2);
  for (int i = 0; i < 3; ++i) forward(model, others), forward(model, others, true);  // without a backward
  const std::vector<AuxTerm> again = forward(model, tokens, true).aux;
  REQUIRE(again.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(first[i].name == again[i].name);
    CHECK(same_bits(first[i].value.value(), again[i].value.value()));
  }
}

TEST_CASE("pitfall 22: no capacity is not a capacity of 0, and 0 is no capacity") {
  ModelConfig c;
  CHECK_FALSE(c.capacity);
  for (const char* zero : {"0", "0.0", "-0.0", "-1", "0.009", "5000", "nan"}) {
    for (const Field& field : list_fields(c))
      if (field.name == "capacity")
        CHECK(error_of([&] { field.parse(zero, "--capacity "); }).find("must be 0.01 to 4096") != std::string::npos);
    CHECK_FALSE(c.capacity);
  }
  CHECK(error_of([&] { from_json({{"capacity", 0}}, c, "f"); }).find("must be 0.01 to 4096") != std::string::npos);
  from_json({{"capacity", 1.5}}, c, "f");
  CHECK(c.capacity == 1.5);
  from_json({{"capacity", nullptr}}, c, "f");
  CHECK_FALSE(c.capacity);
}

TEST_CASE("training is the same bits for any number of threads") {
  ModelConfig c = tiny();
  c.width = 96, c.ffn = 200, c.vocab = 300, c.shared_experts = 1, c.z_loss = 0.001, c.jitter = 0.01, c.dropout = 0.1;
  c.capacity = 1.0;
  const int before = threads();
  std::map<std::string, Numbers> one;
  for (int count : {1, 2, 3}) {
    set_threads(count);
    Transformer model(c, 1);
    train(model, random_tokens(6, 48, c.vocab), 3, {});
    if (count == 1) one = parameters(model);
    for (const auto& [name, values] : parameters(model)) {
      INFO(name, " with ", count, " threads");
      CHECK(values == one.at(name));
      for (double value : values) REQUIRE(std::isfinite(value));
    }
  }
  set_threads(before);
}

TEST_SUITE_END();
