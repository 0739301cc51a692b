#pragma once
#include "nn/linear.h"

namespace switchyard {

// An MLP's activation on the result of its first layer; SwiGLU and GEGLU read (.., 2F), the others (.., F).
enum class Activation : uint8_t { swiglu, gelu, relu, geglu };
constexpr bool gated(Activation activation) {
  return activation == Activation::swiglu || activation == Activation::geglu;
}

//@begin activate
inline Var activate(Activation activation, const Var& x) {
  if (activation == Activation::swiglu) return swiglu(x);
  if (activation == Activation::geglu) {  // gelu(gate) * up
    const int64_t F = x.value().cols() / 2;
    const Var gate = columns(x, 0, F), up = columns(x, F, 2 * F);
    return multiply(unary(Unary::gelu, gate), up);
  }
  return unary(activation == Activation::gelu ? Unary::gelu : Unary::relu, x);
}
//@end activate
constexpr int64_t first_layer_width(Activation activation, int64_t F) { return gated(activation) ? 2 * F : F; }

// The feed-forward layer of a dense transformer: C -> F -> C, without biases.
struct Mlp {
  Activation activation = Activation::swiglu;
  Linear in, out;  // in: (2F or F, C), where gated the gate's rows first; out: (C, F)

  Mlp() = default;
  Mlp(int64_t width, int64_t F, Activation activation_, double deviation, double out_deviation, Init& init)
      : activation(activation_),
        in(width, first_layer_width(activation, F), deviation, init),
        out(F, width, out_deviation, init) {}
  void adapt(const AdapterConfig& config, Init& init) { in.adapt(config, init), out.adapt(config, init); }
  Var operator()(const Var& x) const { return out(activate(activation, in(x))); }
  void visit(const std::string& name, const ParamVisitor& f) {
    in.visit(name + ".in", f);
    out.visit(name + ".out", f);
  }
};

}  // namespace switchyard
