// Low-rank adapters: a frozen matrix W gets a trained addition of a small rank r (Hu et al. 2021, "LoRA", arXiv
// 2106.09685, section 4.1): y = W x + alpha / r B A x.
#pragma once
#include <cmath>

#include "nn/init.h"
#include "nn/module.h"

namespace switchyard {

// Which matrices of a model have adapters (attention's; the experts' of every kind, and the MLPs of layers without;
// or both), of which rank r, and alpha.
enum class Adapters : uint8_t { none, attention, experts, all };
struct AdapterConfig {
  Adapters of = Adapters::none;
  int rank = 8;
  double alpha = 16;
  constexpr bool any() const { return of != Adapters::none; }
  // The rank in one of these parts; 0 where it has none.
  constexpr int rank_in(Adapters part) const { return of == part || of == Adapters::all ? rank : 0; }
};

struct LowRank {
  Var down, up;  // A (r, in) and B (out, r); where E matrices lie together, (E, r, in) and (E, out, r)
  double factor = 1;

  LowRank() = default;
  // For a matrix (out, in) or E of them. B begins at zero: a model with new adapters answers as it did without.
  LowRank(const Shape& matrix, const AdapterConfig& config, Init& init) : factor(config.alpha / config.rank) {
    const int64_t out = matrix[-2], in = matrix[-1], rank = config.rank;
    const auto shape = [&](int64_t rows, int64_t cols) {
      return matrix.rank() == 3 ? Shape{matrix[0], rows, cols} : Shape{rows, cols};
    };
    down = init.normal(shape(rank, in), 1 / std::sqrt(double(in)));
    up = init.constant(shape(out, rank), 0);
  }
  // y + factor B A x, for x (.., in) and y (.., out).
  Var added(const Var& y, const Var& x) const {
    //@begin low-rank
    const Var low = linear(x, down);  // (.., r)
    return add(y, scale(linear(low, up), factor));
    //@end low-rank
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    f(name + ".down", down);
    f(name + ".up", up);
  }
};

}  // namespace switchyard
