// A router decides which experts each token visits, and with what weight. It only proposes; moe/plan.h makes the plan
// and everything after is blind to the strategy. Its mathematics is never below f32.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "moe/config.h"
#include "nn/linear.h"

namespace switchyard {

// A loss that a router adds to the model's: `value` is unweighted, and 1 at uniform load where that has a meaning.
struct AuxTerm {
  std::string name;
  Var value;  // (1)
  double coefficient;
};

//@begin selection
// A proposals: token[i] asks for expert[i] and weighs its answer by gate[i];
// -1 in token or expert is no proposal.
struct Selection {
  Tensor token, expert;  // i32 (A)
  Var gate;              // (A), differentiable
  // A token's proposals lie together, the best first, so many for each; 1
  // where there is no such order.
  int64_t ranks = 1;
  std::vector<AuxTerm> aux;
  Tensor probability;  // (T, E) what the router thought, for statistics
};
//@end selection

// A share such as 1.1 * 50 / 5, which is 11, though binary fractions make 11.000000000000002 of it: the nearest whole
// number where it is that close, else unchanged. To be rounded up or down then.
double exact_share(double share);

// How many slots an expert may have. No factor: as many as are proposed (dropless).
struct Capacity {
  std::optional<double> factor;
  int min = 4;
  DropOrder drop = DropOrder::position;
  int groups = 1;          // so many equal parts of the tokens, in each of which an expert has this room
  bool per_token = false;  // GShard: the even share is that of the tokens, not of the proposals, and rounded down
  // Room of each expert for `proposals` over E experts, those of padding counted: ceil(factor * proposals / E), at
  // least min. Per token: floor(factor * proposals / ranks / E), at least min, at most the tokens.
  int64_t slots(int64_t proposals, int64_t E, int64_t ranks = 1) const;
};

struct RouterInput {
  Var x;                              // (T, C)
  std::span<const int32_t> token_id;  // (T), for routers that look at the word
  std::span<const int32_t> sequence;  // (T), the sequence that a token belongs to
  std::span<const uint8_t> valid;     // (T), 0 for padding; empty: all valid
  Pass* pass = nullptr;               // training or not, and random numbers
};

// What a router looks at in place of x: x, never below f32, and in training times a uniform number in 1 - jitter ..
// 1 + jitter, element by element (Fedus et al. 2021). The experts get x as it is. --router-compute bf16 rounds it.
Var router_view(const RouterInput& input, const ModelConfig& config);
// The logits of the view: (T, E), rounded where --router-compute says so.
Var router_logits(const Var& view, const Linear& weight, const ModelConfig& config);
// Whether this pass draws random numbers: in training, unless it was told not to.
bool draws(const RouterInput& input);
// The choices (T, k) with -1 in the rows of padding.
Tensor masked(const Tensor& choice, std::span<const uint8_t> valid);
// The proposals of choices i32 (T, k), a token's best first, with gates (T, k); padding proposes nothing, nor does -1.
Selection propose(const Tensor& choice, const Var& gate, const RouterInput& input);
// The same for choices made on the host, T k of them, which go to the gate's device; choosing there waits for a GPU.
Selection propose(const std::vector<int32_t>& choice, const Var& gate, const RouterInput& input);
Tensor on_device(const std::vector<int32_t>& choice, const Var& like);  // (rows of like, choices of each)
// The k highest of a row, highest first; of equals the lower index.
std::vector<int32_t> highest(std::span<const double> row, int64_t k);
inline Var scaled(const Var& gate, double factor) { return factor == 1 ? gate : scale(gate, factor); }

//@begin router
class Router {
 public:
  virtual ~Router() = default;
  virtual Selection select(const RouterInput& input) = 0;
  // Called once after each optimizer step with the proposals that each expert received in it.
  virtual void after_step(std::span<const int64_t> /*load*/) {}
  // Called once before training with how often each token of the vocabulary occurs in the text.
  virtual void see_text(std::span<const int64_t> /*occurrences*/) {}
  // Outside training, whether a token's choice depends on no later token: only then may generation use this router.
  virtual bool causal() const { return true; }
  // What a full expert means to this router, given what the configuration says.
  virtual Capacity capacity(const Capacity& configured) const { return configured; }
  virtual void visit(const std::string& /*name*/, const ParamVisitor& /*f*/) {}
};
//@end router

// What a file of moe/routers/ gives to the rest: its line in moe/routers/list.inc makes it known.
struct RouterInfo {
  std::string_view name, help;
  std::unique_ptr<Router> (*make)(const ModelConfig&, Init&);
  // Error for a combination that makes no sense; the message says what would happen otherwise.
  void (*check)(const ModelConfig&);
  bool scales_gates = false;  // whether it reads --gate-scale
};
std::span<const RouterInfo* const> routers();
const RouterInfo& find_router(std::string_view name);  // Error that names the nearest otherwise.
// The router that the configuration names. Error for a combination that makes no sense.
std::unique_ptr<Router> make_router(const ModelConfig& config, Init& init);
// RouterInfo::make of a class that is made of a configuration and an Init.
template <class R>
std::unique_ptr<Router> make_a(const ModelConfig& config, Init& init) {
  return std::make_unique<R>(config, init);
}

}  // namespace switchyard
