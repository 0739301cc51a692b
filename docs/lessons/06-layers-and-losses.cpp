// Chapter 6: six tokens through an embedding, a norm, an MLP and a head, to one loss.
// --large: one loss written in three ways, as the logits grow.
#include <cmath>

#include "nn/embedding.h"
#include "nn/mlp.h"
#include "nn/norm.h"

using namespace switchyard;

namespace {

//@begin model
struct Tiny {
  Embedding embedding;
  Norm norm;
  Mlp mlp;
  Linear head;
  Var operator()(const Tensor& ids) const {
    const Var x = embedding(ids);       // (T, C)
    return head(norm(add(x, mlp(x))));  // (T, V)
  }
  void visit(const ParamVisitor& f) {
    embedding.visit("embedding", f);
    norm.visit("norm", f);
    mlp.visit("mlp", f);
    head.visit("head", f);
  }
  //@end model
};

void train() {
  Init init(1);
  Tiny model{Embedding(8, 4, 1, init), Norm(4, 1e-5, false, init), Mlp(4, 6, Activation::swiglu, 0.5, 0.5, init),
             Linear(4, 8, 0.02, init)};
  int64_t parameters = 0;
  model.visit([&](const std::string& name, Var& p) {
    fmt::print("  {:18} {:8} {:3}\n", name, p.shape().text(), p.value().count());
    parameters += p.value().count();
  });
  fmt::print("{} parameters; log 8 = {:.3f}\n", parameters, std::log(8.0));
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 2}, next = {1, 4, 1, 5, 2, -1};
  Var losses;  // (T)
  for (int step = 0; step <= 60; ++step) {
    losses = cross_entropy(model(Tensor::from(ids, {6})), Tensor::from(next, {6}));
    const Var loss = scale(sum(losses), 1.0 / 5);
    if (step % 20 == 0) fmt::print("step {:2}: loss {:.2f}\n", step, loss.value().item());
    backward(loss);
    model.visit([](const std::string&, Var& p) {
      p.set_value(add(p.value(), scale(p.grad(), -0.3)));
      p.clear_grad();
    });
  }
  for (size_t t = 0; t < 6; ++t) fmt::print("{} then {:2}: {:.2f}\n", ids[t], next[t], losses.value().values()[t]);
}

//@begin textbook
// The loss of target 0: as the formula stands, and shifted.
float by_formula(const float* x) {
  float total = 0;
  for (int i = 0; i < 4; ++i) total += std::exp(x[i]);
  return -std::log(std::exp(x[0]) / total);
}
float shifted(const float* x, float most) {
  float total = 0;
  for (int i = 0; i < 4; ++i) total += std::exp(x[i] - most);
  return (most + std::log(total)) - x[0];
}
//@end textbook

void large() {
  fmt::print("{:>9} {:>10} {:>10} {:>10} {:>10}\n", "logits +", "by formula", "shifted", "ours", "true");
  const double exact = std::log(1 + std::exp(-1.0) + std::exp(-2.0) + std::exp(-0.5));
  for (float offset : {0.f, 50.f, 100.f, 1e3f, 1e4f, 1e5f, 1e6f}) {
    const float x[] = {offset + 1, offset, offset - 1, offset + 0.5f};
    const Tensor logits = Tensor::from(std::vector<double>(x, x + 4), {1, 4});
    const Tensor loss = cross_entropy(logits, Tensor::from(std::vector<int32_t>{0}, {1})).loss;
    fmt::print("{:9.0f} {:10.6f} {:10.6f} {:10.6f} {:10.6f}\n", offset, std::abs(by_formula(x)), shifted(x, x[0]),
               loss.item(), exact);
  }
}

}  // namespace

int main(int argc, char**) { argc > 1 ? large() : train(); }
