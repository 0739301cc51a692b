#include "moe/merge.h"

#include <map>

#include "tensor/ops.h"

namespace switchyard {
namespace {

// factor B A, for one matrix or for E of them.
Tensor product(const Tensor& up, const Tensor& down, double factor) {
  if (up.shape().rank() == 2) return scale(matmul(up, false, down, false), factor);
  Tensor all({up.shape()[0], up.shape()[1], down.shape()[2]}, up.dtype(), up.device());
  for (int64_t e = 0; e < up.shape()[0]; ++e) {
    const auto one = [e](const Tensor& x) { return x.rows(e, e + 1).reshape({x.shape()[1], x.shape()[2]}); };
    const Tensor matrix = product(one(up), one(down), factor);
    copy_bytes(all.rows(e, e + 1).raw(), all.device(), matrix.raw(), matrix.device(), matrix.bytes());
  }
  return all;
}

}  // namespace

Transformer merged(Transformer& model) {
  ModelConfig config = model.config();
  const double factor = config.adapters.alpha / config.adapters.rank;
  config.adapters = {};
  std::map<std::string, Tensor> given;
  model.visit([&](const std::string& name, Var& p) { given[name] = p.value(); });
  Transformer plain(config, 0, model.dtype(), model.device());
  plain.visit([&](const std::string& name, Var& p) {
    const std::string matrix = name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name;
    const auto down = given.find(matrix + ".adapter.down"), up = given.find(matrix + ".adapter.up");
    Tensor weight = given.at(name);
    if (up != given.end()) {
      //@begin merge
      const Tensor more = product(up->second, down->second, factor);
      weight = add(weight, more);
      //@end merge
    }
    copy_bytes(p.value().raw(), p.value().device(), weight.raw(), weight.device(), weight.bytes());
  });
  return plain;
}

}  // namespace switchyard
