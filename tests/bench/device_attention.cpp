// Attention, step by step: forward and backward of training, and the single queries of generation.
#include <fmt/format.h>

#include "tensor/cuda/attention.h"
#include "tests/bench/device_bench.h"

namespace switchyard::bench {
namespace {

using gpu::AttentionStep;

constexpr std::pair<AttentionStep, const char*> steps[] = {{AttentionStep::plain, "plain"},
                                                           {AttentionStep::tiled, "tiled"},
                                                           {AttentionStep::tensor_cores, "tensor cores"},
                                                           {AttentionStep::split_keys, "split keys"}};

// The arrays of one case, laid out as the fused projection leaves them: queries, keys and values of a token in a row.
template <class T>
struct Attending {
  AttentionShape shape;
  Array<T> x, y, dy, dx;
  Array<Wide<T>> logsumexp;
  int64_t key, value;  // where a row's keys and values begin

  Attending(int64_t B, int64_t T_, int64_t H, int64_t K, int64_t D)
      : shape{B, T_, T_, H, K, D, (H + 2 * K) * D, T_ * (H + 2 * K) * D, (H + 2 * K) * D, T_ * (H + 2 * K) * D, 0},
        x(random_array<T>(B * T_ * (H + 2 * K) * D, 1)),
        y(B * T_ * H * D),
        dy(random_array<T>(B * T_ * H * D, 2)),
        dx(B * T_ * (H + 2 * K) * D),
        logsumexp(B * H * T_),
        key(H * D),
        value((H + K) * D) {
    shape.scale = 1 / std::sqrt(double(D));
  }
  bool takes(AttentionStep step) const { return gpu::attention_step_takes<T>(step, shape, x, x + key, x + value, y); }
  bool takes_backward(AttentionStep step) const {
    return gpu::attention_backward_step_takes<T>(step, shape, x, x + key, x + value, dy, dx, dx + key, dx + value);
  }
  void forward(AttentionStep step) const { gpu::attention_by<T>(step, shape, x, x + key, x + value, y, logsumexp); }
  void backward(AttentionStep step) const {
    gpu::attention_backward_by<T>(step, shape, x, x + key, x + value, y, logsumexp, dy, dx, dx + key, dx + value);
  }
  // Two products of T x T x D in each head, of which causal attention needs half.
  double flops() const { return 2.0 * double(shape.B * shape.H * shape.Tq) * double(shape.Tk * shape.D); }
};

template <class T>
Group make_training(const Sizes& sizes) {
  Group group{fmt::format("causal attention, {}", name(dtype_of<T>())), Bound::arithmetic, dtype_of<T>(), ""};
  struct Size {
    int64_t B, T_, H, D;
  };
  std::vector<Size> list = {{sizes.pick(1, 8, 16), sizes.pick(40, 1024, 1024), sizes.pick(2, 12, 12), 64}};
  if (sizes.scale != Scale::tiny) list.push_back({2, 4096, 16, 128});
  for (const Size& s : list) {
    auto data = std::make_shared<Attending<T>>(s.B, s.T_, s.H, s.H, s.D);
    data->forward(AttentionStep::plain);  // the backward reads its results
    const std::string what = fmt::format("B {} T {} H {} D {}", s.B, s.T_, s.H, s.D);
    for (const auto& [step, label] : steps) {
      if (step == AttentionStep::split_keys || (step == AttentionStep::plain && s.T_ > 1024)) continue;
      if (data->takes(step))
        group.cases.push_back({fmt::format("forward, {}, {}", label, what), data->flops(), 0,
                               [=, which = step] { data->forward(which); }, nullptr});
      if (data->takes_backward(step))  // five products where the forward has two
        group.cases.push_back({fmt::format("backward, {}, {}", label, what), 2.5 * data->flops(), 0,
                               [=, which = step] { data->backward(which); }, nullptr});
    }
  }
  return group;
}

// One new query for each sequence, over all keys in the cache, which is what there is to read.
template <class T>
Group make_decode(const Sizes& sizes) {
  Group group{fmt::format("attention while generating, {}", name(dtype_of<T>())), Bound::memory, dtype_of<T>(), ""};
  const int64_t H = sizes.pick(2, 12, 12), D = 64;
  for (auto [B, Tk] :
       {std::pair{int64_t{1}, sizes.pick(40, 8192, 8192)}, {sizes.pick(2, 32, 32), sizes.pick(40, 1024, 8192)}}) {
    const AttentionShape shape{B, 1, Tk, H, H, D, H * D, H * D, H * D, Tk * H * D, 1 / std::sqrt(double(D))};
    const Array<T> q = random_array<T>(B * H * D, 1), k = random_array<T>(B * Tk * H * D, 2),
                   v = random_array<T>(B * Tk * H * D, 3), y(B * H * D);
    const Array<Wide<T>> logsumexp(B * H);
    for (const auto& [step, label] : steps)
      if (gpu::attention_step_takes<T>(step, shape, q, k, v, y))
        group.cases.push_back(
            {fmt::format("{}, B {}, {} keys", label, B, Tk), 0, 2.0 * sizeof(T) * double(B * Tk * H * D),
             [=, which = step] { gpu::attention_by<T>(which, shape, q, k, v, y, logsumexp); }, nullptr});
  }
  return group;
}

}  // namespace

std::vector<Section> attention_sections(const Sizes& sizes) {
  return {{"attention-bf16", [=] { return make_training<bf16>(sizes); }},
          {"attention-f32", [=] { return make_training<float>(sizes); }},
          {"decode-bf16", [=] { return make_decode<bf16>(sizes); }},
          {"decode-f32", [=] { return make_decode<float>(sizes); }}};
}

}  // namespace switchyard::bench
