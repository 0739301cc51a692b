#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace switchyard {

// One row of `weight` (V, C) for each token. With tied weights the same matrix turns features into logits.
struct Embedding {
  Var weight;

  Embedding() = default;
  Embedding(int64_t vocab, int64_t width, double deviation, Init& init)
      : weight(init.normal({vocab, width}, deviation)) {}
  // ids i32 of any shape, on the CPU -> (count, C). Error for an id outside 0 .. V-1.
  Var operator()(const Tensor& ids) const {
    const int64_t V = weight.shape()[0];
    for (int32_t id : std::span(ids.data<int32_t>(), static_cast<size_t>(ids.count())))
      check(id >= 0 && id < V, "token {}: must be 0 to {}, the vocabulary", id, V - 1);
    return gather_rows(weight, ids.to(weight.value().device()));
  }
  void visit(const std::string& name, const ParamVisitor& f) { f(name + ".weight", weight); }
};

}  // namespace switchyard
