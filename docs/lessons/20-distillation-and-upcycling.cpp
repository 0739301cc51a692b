// Chapter 20: the gradient of a target that a teacher softens; and four experts that are copies of an MLP, on the six
// tokens and in a model.
#include <fmt/ranges.h>

#include <map>

#include "docs/lessons/six_tokens.h"
#include "train/optimizer.h"
#include "train/distill.h"

using namespace switchyard;

std::string row(const std::vector<double>& x, size_t r) {
  return fmt::format("{:+.3f} {:+.3f} {:+.3f} {:+.3f}", x[4 * r], x[4 * r + 1], x[4 * r + 2], x[4 * r + 3]);
}

// One token of four words: the student's logits are token 0's, the teacher's token 4's; the text says word 2.
void taught() {
  const Tensor q = softmax(six_tokens().value().rows(4, 5)), word = Tensor::from(std::vector<int32_t>{2}, {1});
  const auto student = [] { return Var(six_tokens().value().rows(0, 1), true); };
  fmt::print("student p                {: .3f}\n", fmt::join(softmax(student()).value().values(), " "));
  fmt::print("teacher q                {: .3f}\n", fmt::join(q.values(), " "));
  for (const double s : {0.0, 1.0, 0.25}) {
    const Var x = student(), hard = cross_entropy(x, word), soft = soft_cross_entropy(x, q);
    const Var loss = add(hard, scale(add(soft, scale(hard, -1)), s));
    backward(sum(loss));
    fmt::print("gradient, {:.2f} soft      {}  loss {:.3f}\n", s, row(x.grad().values(), 0), loss.value().item());
  }
}

Mlp six_mlp() {
  Init init(1, Dtype::f64);
  return {4, 3, Activation::swiglu, 0.5, 0.5, init};
}
// Four experts, each a copy of the MLP. A token's logits are its row, times `sharp`.
MoeLayer copies_of(Mlp& mlp, GateNorm norm, int k, double sharp = 1) {
  std::map<std::string, std::vector<double>> one{{".router", scale(identity(4), sharp).values()}};
  mlp.visit(".experts", [&](const std::string& name, Var& w) {
    for (int e = 0; e < 4; ++e)
      for (double value : w.value().values()) one[name.substr(0, name.rfind(".weight"))].push_back(value);
  });
  ModelConfig c = six_config();
  c.gate_norm = norm, c.top_k = k;
  Init init(0, Dtype::f64);
  MoeLayer layer(c, 1, init);
  layer.visit("", [&](const std::string& name, Var& p) {
    p.set_value(Tensor::from(one.at(name.substr(0, name.rfind(".weight"))), p.shape(), Dtype::f64));
  });
  return layer;
}
void copies(GateNorm norm) {
  Mlp mlp = six_mlp();
  const MoeOutput o = copies_of(mlp, norm, 2)({.x = six_tokens()});
  const std::vector<double> dense = mlp(six_tokens()).value().values(), y = o.y.value().values();
  fmt::print("token  the MLP                      four copies, gates: {:<10}   quotient\n", name(norm));
  for (size_t t = 0; t < 6; ++t)
    fmt::print("{:5}  {}  {}  {:.6f}\n", t, row(dense, t), row(y, t), y[4 * t] / dense[4 * t]);
}
void both() { taught(), fmt::print("\n"), copies(GateNorm::sum_to_one); }
void plain() { copies(GateNorm::none); }

// The gradients of a layer of copies; each token's answer is pulled by random numbers, the same ones in each line.
void gradients() {
  std::vector<double> pull;
  for (uint64_t i = 0; i < 24; ++i) pull.push_back(normal({3, 1}, i));
  const Var weight(Tensor::from(pull, {6, 4}, Dtype::f64));
  Mlp mlp = six_mlp();
  backward(sum(multiply(mlp(six_tokens()), weight)));
  const std::vector<double> whole = mlp.in.weight.grad().values();  // (2F, C)
  fmt::print("of a weight of the MLP: {:+.4f}\n", whole[0]);
  fmt::print("of its copies                   0      1      2      3      sum   router\n");
  const auto line = [&](const char* title, GateNorm norm, int k, double sharp) {
    MoeLayer layer = copies_of(mlp, norm, k, sharp);
    backward(sum(multiply(layer({.x = six_tokens()}).y, weight)));
    std::vector<double> of;
    double router = 0, all = 0;
    layer.visit("", [&](const std::string& name, Var& p) {
      const std::vector<double> g = p.grad().values();
      for (double x : g) router = name == ".router.weight" ? std::max(router, std::abs(x)) : router;
      for (size_t e = 0; e < 4 && name == ".experts.in"; ++e) of.push_back(g[e * whole.size()]), all += of.back();
    });
    fmt::print("{:<27}{}  {:+.4f}  {:.4f}\n", title, row(of, 0), all, router);
  };
  line("two of four, sum to one", GateNorm::sum_to_one, 2, 1), line("two of four, plain gates", GateNorm::none, 2, 1);
  line("all four, equal gates", GateNorm::sum_to_one, 4, 0);
}

// 32 words that a dense model learns by heart; then it goes on as a mixture of eight copies.
void jump() {
  ModelConfig c{.vocab = 64, .context = 16, .layers = 2, .width = 32, .heads = 4, .kv_heads = 2, .ffn = 48};
  c.init = 0.1, c.experts = c.top_k = 1, c.gate_norm = GateNorm::none;
  std::vector<int32_t> token(33);
  Random random{{1, 1}};
  for (int32_t& t : token) t = int32_t(random.below(c.vocab));
  const std::span all(token);
  const Tensor tokens = Tensor::from(all.first(32), {2, 16}), targets = Tensor::from(all.last(32), {2, 16});
  const auto learn = [&](const char* title, Transformer& model, int steps, int every) {
    Optimizer optimizer(model, {.weight_decay = 0});
    fmt::print("{:<34}", title);
    for (int step = 0; step <= steps; ++step) {
      const Var loss = mean(cross_entropy(model(tokens).logits, targets));
      if (step % every == 0) fmt::print(" {:.3f}", loss.value().item());
      if (step < steps) backward(loss), optimizer.step(0.002, 1);
    }
    fmt::print("\n");
  };
  Transformer dense(c, 1, Dtype::f64);
  learn("dense, every 20 steps", dense, 80, 20);
  c.experts = 8, c.top_k = 2;
  const auto go_on = [&](const char* title, GateNorm norm, double factor) {
    c.gate_norm = norm, c.gate_scale = factor;
    Transformer mixture = upcycled(dense, c, 7);
    learn(title, mixture, 8, 2);
  };
  fmt::print("as a mixture, every 2 steps\n");
  go_on("gates that sum to one", GateNorm::sum_to_one, 1), go_on("plain gates", GateNorm::none, 1);
  go_on("plain gates times E / k", GateNorm::none, 4);
}

int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", both}, {"--plain", plain}, {"--gradients", gradients}, {"--jump", jump}});
}
