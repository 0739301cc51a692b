// The table of ./run bench that says where a training step's time goes, by part: that each kernel call is counted for
// the part that it serves, in every kind of model, and that nothing is counted twice or left out.
#include <doctest/doctest.h>

#include <set>

#include "tests/bench/step_parts.h"
#include "tests/moe_models.h"

using namespace switchyard;
using namespace switchyard::bench;

namespace {

// A machine with one level of memory and round numbers.
Limits plain_limits() {
  const Rate rate{1, 0.5};
  return {.fma = {1, 1}, .levels = {Level{"DRAM", std::numeric_limits<double>::infinity(), rate, rate, rate}}};
}

struct Traced {
  Transformer model;
  StepRun run{};
  StepTrace trace;
  std::vector<Part> parts;  // of each call

  explicit Traced(const ModelConfig& c, Dtype dtype = Dtype::f32) : model(test::lively_model(c, dtype)) {
    const TrainConfig train{.batch = 2, .rate = 1e-3};
    Optimizer optimizer(model, train);
    Random random{{1, 1}};
    {
      const TimedKernels<float> timed(run.calls);
      const TimedKernels<bf16> also(run.calls);
      const double start = now();
      training_step(model, optimizer, train, random, &trace);
      run.seconds = now() - start;
    }
    run.peak = 1;
    parts = parts_of_calls(run.calls, trace, parameter_names(model));
  }
  // The parts that have a call whose name begins so.
  std::set<Part> of(std::string_view kernel) const {
    std::set<Part> found;
    for (size_t i = 0; i < parts.size(); ++i)
      if (run.calls[i].kernel.starts_with(kernel)) found.insert(parts[i]);
    return found;
  }
  int64_t calls(std::string_view kernel, Part part, bool forward) const {
    int64_t n = 0;
    for (size_t i = 0; i < parts.size(); ++i)
      n += run.calls[i].kernel == kernel && parts[i] == part && (run.calls[i].end < trace.backward) == forward;
    return n;
  }
  int64_t forward_calls(std::string_view kernel, Part part) const { return calls(kernel, part, true); }
  // Of plain products: 2 FLOP for each weight, token and way, of which there are three.
  double products(Part part) const {
    double flops = 0;
    for (size_t i = 0; i < parts.size(); ++i)
      if (parts[i] == part && run.calls[i].kernel.starts_with("gemm")) flops += run.calls[i].cost.flops;
    return flops;
  }
};

// Numbers in the matrices whose names hold one of these texts.
int64_t weights(Transformer& model, std::initializer_list<std::string_view> texts) {
  int64_t n = 0;
  model.visit([&](const std::string& name, Var& p) {
    const auto holds = [&](std::string_view text) { return name.find(text) != std::string::npos; };
    if (p.shape().rank() == 2 && p.requires_grad() && std::any_of(texts.begin(), texts.end(), holds))
      n += p.value().count();
  });
  return n;
}

void check_kernels(const Traced& t, const ModelConfig& c) {
  using Parts = std::set<Part>;
  const auto only = [&](std::string_view kernel, Part part) {
    const Parts found = t.of(kernel);
    CHECK_MESSAGE((found.empty() || found == Parts{part}), kernel);
  };
  only("grouped", Part::experts);
  only("combine", Part::dispatch);
  only("plan", Part::dispatch);
  only("rope", Part::attention);
  only("attention", Part::attention);
  only("cross_entropy", Part::loss);
  only("adamw", Part::optimizer);
  only("softmax", Part::routing);
  only("top_k", Part::routing);
  only("logsumexp", Part::routing);
  only("layer_norm", Part::norms);
  if (c.attention != AttentionKind::latent) only("proposing_tokens", Part::routing);
  CHECK(t.of("adamw").size() == 1);
  CHECK(t.of("attention") == Parts{Part::attention});
  CHECK(t.of("cross_entropy").size() == 1);
  CHECK(t.of("plan").size() == (c.dense() ? 0 : 1));
  CHECK(t.of("combine").size() == (c.dense() ? 0 : 1));
}

// The products of each part come from its weights alone: another way to the same numbers.
void check_products(Traced& t, const ModelConfig& c) {
  const double each = 6.0 * 2 * double(c.context);  // of two sequences
  const bool has_head = !c.tied;
  CHECK(t.products(Part::projections) == each * double(weights(t.model, {".attention."})));
  CHECK(t.products(Part::mlp) == each * double(weights(t.model, {".mlp.", ".moe.shared"})));
  CHECK(t.products(Part::head) == each * double(weights(t.model, {has_head ? "head." : "embedding."})));
  for (Part part : {Part::embedding, Part::norms, Part::attention, Part::dispatch, Part::experts, Part::optimizer})
    CHECK(t.products(part) == 0);
}

void check_step(const ModelConfig& c, Dtype dtype = Dtype::f32) {
  CAPTURE(test::text(c));
  Traced t(c, dtype);
  REQUIRE(t.parts.size() == t.run.calls.size());
  check_kernels(t, c);
  check_products(t, c);
  int64_t mixtures = 0;
  for (int i = 0; i < c.layers; ++i) mixtures += c.has_experts(i) && !c.dense();
  // Two results are added to the residual stream in each layer, and the shared experts' to the others'.
  const int64_t sums = 2 * c.layers + (c.shared_experts ? mixtures : 0);
  CHECK(t.forward_calls("add", Part::norms) == sums);
  CHECK(t.forward_calls("gather_rows", Part::embedding) == 1);
  CHECK(t.forward_calls("gather_rows", Part::dispatch) >= mixtures);
  CHECK(t.forward_calls("plan", Part::dispatch) == mixtures);
  CHECK(t.forward_calls(c.norm == NormKind::layer ? "layer_norm" : "rms_norm", Part::norms) == 2 * c.layers + 1);

  const PartSums parts = parts_of(t.run, t.trace, parameter_names(t.model), plain_limits());
  double seconds = 0;
  int64_t calls = 0;
  for (const PartSum& part : parts) {
    CHECK(part.seconds() >= 0);
    seconds += part.seconds(), calls += part.calls;
  }
  CHECK(seconds == doctest::Approx(t.run.seconds).epsilon(1e-9));
  CHECK(calls == int64_t(t.run.calls.size()));
  CHECK(parts[size_t(Part::optimizer)].forward == 0);
  CHECK(parts[size_t(Part::optimizer)].backward == 0);
}

}  // namespace

TEST_SUITE("bench parts") {
  TEST_CASE("every call of a step is counted for the part that it serves: every router") {
    for (ModelConfig c : test::all_routers(test::tiny())) {
      check_step(c);
      c.balance = 0.1, c.z_loss = 0.1, c.capacity = 1.25;
      if (error_of([&] { validate(c); }) == "no error") check_step(c);
    }
  }

  TEST_CASE("every call of a step is counted for the part that it serves: every attention") {
    for (const auto& [name, c] : test::all_attentions(test::tiny())) {
      CAPTURE(name);
      check_step(c);
      check_step(c, Dtype::bf16);
    }
  }

  TEST_CASE("every call of a step is counted for the part that it serves: other layers") {
    ModelConfig c = test::tiny();
    c.top_k = 2;
    c.tied = !c.tied;
    check_step(c);
    c.dropout = 0.1, c.expert_dropout = 0.1, c.norm = NormKind::layer, c.jitter = 0.1;
    check_step(c);
    c.shared_experts = 1, c.first_dense = 1, c.layers = 3;
    check_step(c);
    c.shared_gate = true, c.activation = Activation::geglu;
    check_step(c);
    ModelConfig deepseek = test::all_attentions(test::tiny()).back().second;
    deepseek.router = "deepseek-v3", deepseek.top_k = 2, deepseek.balance = 1e-3;
    deepseek.shared_experts = 1, deepseek.first_dense = 1, deepseek.layers = 3;
    check_step(deepseek);
    ModelConfig dense = test::tiny();
    dense.experts = 1, dense.top_k = 1;
    check_step(dense);
  }

  TEST_CASE("a router's product and what it makes of x are the router's, its gates in their slots are dispatch's") {
    ModelConfig c = test::tiny();
    c.top_k = 2, c.jitter = 0.1;
    for (Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      Traced t(c, dtype);
      CHECK(t.products(Part::routing) == 6.0 * 2 * double(c.context) * double(weights(t.model, {".router."})));
      CHECK(t.of("jitter") == std::set<Part>{Part::routing});
      CHECK(t.forward_calls("widen", Part::routing) == (dtype == Dtype::bf16 ? c.layers : 0));
      CHECK(t.calls("gather_rows_backward", Part::dispatch, false) == c.layers);
      CHECK(t.calls("gather_rows_backward", Part::embedding, false) == 1);
    }
  }

  TEST_CASE("a traced step trains as any other") {
    ModelConfig c = test::tiny();
    c.top_k = 2;
    Traced traced(c);
    Transformer model = test::lively_model(c);
    const TrainConfig train{.batch = 2, .rate = 1e-3};
    Optimizer optimizer(model, train);
    Random random{{1, 1}};
    training_step(model, optimizer, train, random);
    std::vector<Tensor> plain;
    model.visit([&](const std::string&, Var& p) { plain.push_back(p.value()); });
    size_t i = 0;
    traced.model.visit(
        [&](const std::string& name, Var& p) { CHECK_MESSAGE(test::same_bits(p.value(), plain.at(i++)), name); });
  }

  TEST_CASE("the time between two calls is the second's; what is left is the rest") {
    // x -> linear (head) -> cross_entropy, in seconds from 100 on.
    const Var weight(Tensor::full({1}, 0), true);
    const ParameterNames names{{weight.node().get(), "head.weight"}};
    StepTrace trace{.forward = 101, .backward = 110, .optimizer = 120};
    trace.nodes = {{30, "cross_entropy", nullptr, false, 111}, {20, "linear", weight.node().get(), false, 114}};
    const Cost cost{.flops = 4, .read = 1};
    const StepRun run{24,
                      2,
                      {{"gemm", cost, 1, 4, 103, 15},
                       {"cross_entropy", cost, 1, 4, 107, 25},
                       {"cross_entropy_backward", cost, 1, 4, 113, 40},
                       {"gemm", cost, 1, 4, 118, 41},
                       {"adamw", cost, 1, 4, 123, 42}}};
    const PartSums sums = parts_of(run, trace, names, plain_limits());
    const PartSum &head = sums[size_t(Part::head)], &loss = sums[size_t(Part::loss)];
    CHECK(head.forward == 2);
    CHECK(head.backward == 5);
    CHECK(loss.forward == 4);
    CHECK(loss.backward == 3);
    CHECK(sums[size_t(Part::optimizer)].other == 3);
    CHECK(sums[size_t(Part::rest)].other == 24 - 2 - 5 - 4 - 3 - 3);
    CHECK(head.calls == 2);
    CHECK(head.flops == 8);
    CHECK(head.bytes == 2);
    CHECK(head.yardstick_flops == 8);
    CHECK(head.limited_by() == -1);
  }

  TEST_CASE("a parameter that no part knows is an error") {
    CHECK(error_of([] { part_of_parameter("layers.0.memory.weight", "linear"); }) ==
          "parameter layers.0.memory.weight: no part of the step is known to use it");
    CHECK(part_of_parameter("embedding.weight", "gather_rows") == Part::embedding);
    CHECK(part_of_parameter("embedding.weight", "linear") == Part::head);
  }
}
