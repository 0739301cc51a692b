// Whole models on the device: training and generation give the CPU's numbers, the same bits twice, without waiting and
// without taking memory.
#include <fmt/format.h>

#include <cstring>
#include <numeric>

#include "infer/generate.h"
#include "tests/device/device_cases.h"
#include "train/optimizer.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

ModelConfig small_mixture() {
  return {.vocab = 61, .context = 20, .layers = 2, .width = 32, .heads = 4, .kv_heads = 2, .ffn = 24, .experts = 4};
}

Tensor random_tokens(int64_t B, int64_t T, int vocab, uint64_t stream) {
  return Tensor::from(random_ints(B * T, 0, vocab - 1, stream), {B, T});
}

// What training leaves: the losses, and every gradient of the first step and parameter of the last.
struct Trained {
  std::vector<double> loss;
  std::vector<std::string> names;
  std::vector<std::vector<double>> gradient, parameter;
  int64_t waits_inside = 0;       // for the device, between a step's beginning and its end
  int64_t system_calls_late = 0;  // for memory, after the second step
};

Trained train(const ModelConfig& config, Device device, Dtype dtype = Dtype::f32, int64_t steps = 20) {
  Transformer model(config, 3, dtype, device);
  Optimizer optimizer(model, {});
  Trained result;
  int64_t calls = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t waits = gpu::waits();
    Pass pass{.training = true, .seed = 5, .next_stream = uint64_t(step) << 16};
    const Tensor tokens = random_tokens(2, 13, config.vocab, uint64_t(step % 4));
    const ForwardResult f = model(tokens, {.pass = &pass});
    const Var loss = mean(cross_entropy(f.logits, tokens.reshape({26}).to(device)));
    Var total = loss;
    for (const AuxTerm& term : f.aux) total = add(total, scale(term.value, term.coefficient));
    backward(total);
    if (step == 0)
      model.visit([&](const std::string& name, Var& p) {
        result.names.push_back(name);
        result.gradient.push_back(p.grad().defined() ? p.grad().values() : std::vector<double>());
      });
    optimizer.step(1e-2, 1);
    if (step > 0) result.waits_inside += gpu::waits() - waits;
    result.loss.push_back(loss.value().item());
    if (step == 1) calls = pool_stats(device).system_calls;
  }
  result.system_calls_late = pool_stats(device).system_calls - calls;
  model.visit([&](const std::string&, Var& p) { result.parameter.push_back(p.value().values()); });
  return result;
}

// The largest difference, in units of the largest number wanted.
double distance(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  double most = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    REQUIRE(std::isfinite(got[i]));
    most = std::max(most, std::abs(got[i] - want[i]));
    size = std::max(size, std::abs(want[i]));
  }
  return size > 0 ? most / size : most;
}

void compare_results(const Trained& cpu, const Trained& cuda, const Trained& again) {
  for (size_t i = 0; i < cpu.loss.size(); ++i) CHECK(cuda.loss[i] == doctest::Approx(cpu.loss[i]).epsilon(1e-4));
  for (size_t i = 0; i < cpu.names.size(); ++i) {
    CAPTURE(cpu.names[i]);
    // As far as f32 sums in another order get apart in a few layers.
    CHECK(distance(cuda.gradient[i], cpu.gradient[i]) < 2e-5);
  }
  CHECK(cuda.loss == again.loss);
  CHECK(cuda.gradient == again.gradient);
  CHECK(cuda.parameter == again.parameter);
}

void compare(const ModelConfig& config) {
  const int64_t in_use = pool_stats(Device::cuda).bytes_in_use;
  const Trained cpu = train(config, Device::cpu), cuda = train(config, Device::cuda),
                again = train(config, Device::cuda);
  compare_results(cpu, cuda, again);
  CHECK(cpu.loss.back() < 0.9 * cpu.loss.front());  // it learns
  CHECK(cuda.waits_inside == 0);
  CHECK(cuda.system_calls_late == 0);
  CHECK(pool_stats(Device::cuda).bytes_in_use == in_use);  // nothing is left
}

}  // namespace

TEST_SUITE("device: training") {
  TEST_CASE("twenty steps of a mixture of experts: the CPU's losses and gradients, the same bits twice, no waiting") {
    compare(small_mixture());
  }

  TEST_CASE("the same with capacity, priorities, jitter, dropout, shared experts, layer norm, tied weights") {
    ModelConfig c = small_mixture();
    c.capacity = 1.0, c.drop = DropOrder::priority, c.jitter = 0.1, c.dropout = 0.1, c.shared_experts = 1;
    c.norm = NormKind::layer, c.tied = true, c.z_loss = 1e-3, c.activation = Activation::gelu;
    compare(c);
  }

  TEST_CASE("the same for Switch routing and for a dense model") {
    ModelConfig c = small_mixture();
    c.router = "switch", c.top_k = 1, c.gate_norm = GateNorm::none, c.capacity = 1.25;
    compare(c);
    c = small_mixture();
    c.experts = 1, c.top_k = 1;
    compare(c);
  }

  TEST_CASE("the routers that choose on the host, and what else only some models have") {
    ModelConfig base = small_mixture();
    base.importance = base.load = base.device_balance = base.communication_balance = 0.1, base.z_loss = 1e-3;
    base.groups = 2, base.group_top_k = 1, base.moe_every = 2, base.activation = Activation::geglu;
    base.shared_experts = 1, base.shared_gate = true, base.expert_dropout = 0.1, base.capacity = 1.0;
    base.router_compute = Compute::bf16;
    for (const char* router :
         {"noisy-topk", "gshard", "deepseek-v2", "deepseek-v3", "expert-choice", "hash", "base", "sinkhorn", "soft"}) {
      const std::string_view name = router;
      CAPTURE(name);
      ModelConfig c = base;
      c.router = router;
      c.top_k = name == "hash" || name == "base" ? 1 : name == "soft" ? c.experts : 2;
      if (name == "soft") c.capacity.reset();
      const auto on = [&](Device device) { return train(c, device, Dtype::f32, 2); };
      compare_results(on(Device::cpu), on(Device::cuda), on(Device::cuda));
    }
  }

  TEST_CASE("the same with normed queries and keys in a window, and with latent attention") {
    ModelConfig c = small_mixture();
    c.qk_norm = QkNorm::head, c.window = 5;
    compare(c);
    c = small_mixture();
    c.attention = AttentionKind::latent, c.kv_heads = c.heads, c.latent_rank = 12, c.rope_dim = 4, c.value_dim = 14;
    compare(c);
  }

  TEST_CASE("bf16: losses near those of f32, the same bits twice") {
    const Trained wide = train(small_mixture(), Device::cpu), narrow = train(small_mixture(), under_test, Dtype::bf16);
    const Trained again = train(small_mixture(), under_test, Dtype::bf16);
    // 8 bits of precision, through two layers. After some steps the two runs choose other experts and part by chance:
    // from there on only their mean means something.
    for (size_t i = 0; i < 10; ++i) CHECK(narrow.loss[i] == doctest::Approx(wide.loss[i]).epsilon(0.02));
    const auto mean_of = [](const std::vector<double>& x) {
      return std::accumulate(x.begin(), x.end(), 0.0) / double(x.size());
    };
    CHECK(mean_of(narrow.loss) == doctest::Approx(mean_of(wide.loss)).epsilon(0.01));
    CHECK(narrow.loss == again.loss);
    CHECK(narrow.parameter == again.parameter);
    CHECK(narrow.waits_inside == 0);
    CHECK(narrow.system_calls_late == 0);
  }

  TEST_CASE("bf16: gradients near those of f32, where no near tie can choose another expert") {
    ModelConfig c = small_mixture();
    c.top_k = c.experts;
    const Trained wide = train(c, Device::cpu), narrow = train(c, under_test, Dtype::bf16);
    for (size_t i = 0; i < wide.names.size(); ++i) {
      CAPTURE(wide.names[i]);
      CHECK(distance(narrow.gradient[i], wide.gradient[i]) < 0.1);
    }
  }

  TEST_CASE("generation: the CPU's logits, token by token and from a prompt") {
    std::vector<ModelConfig> configs(3, small_mixture());
    configs[1].qk_norm = QkNorm::whole, configs[1].window = 4;
    configs[2].attention = AttentionKind::latent, configs[2].kv_heads = configs[2].heads, configs[2].query_rank = 10;
    for (const ModelConfig& c : configs) {
      Transformer cpu(c, 3), cuda(c, 3, Dtype::f32, Device::cuda);
      Decoder here(cpu), there(cuda);
      Ints ids = random_ints(7, 0, c.vocab - 1, 1);
      for (int token = 0; token < 20; ++token) {  // beyond the context too, which begins anew
        const std::span<const float> want = here.feed(ids), got = there.feed(ids);
        REQUIRE(got.size() == want.size());
        for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-4).scale(1));
        ids = {int32_t(std::max_element(want.begin(), want.end()) - want.begin())};
      }
    }
  }
}
