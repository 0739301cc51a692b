// A router decides which experts each token visits, and with what weight. It only proposes; moe/plan.h makes the plan
// and everything after is blind to the strategy. Its mathematics is never below f32.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "moe/config.h"
#include "nn/init.h"
#include "nn/module.h"

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
  // (A), the higher is kept when an expert is full; undefined: the earlier
  Tensor priority;
  std::vector<AuxTerm> aux;
  Tensor probability;  // (T, E) what the router thought, for statistics
};
//@end selection

struct RouterInput {
  Var x;                              // (T, C)
  std::span<const int32_t> token_id;  // (T), for routers that look at the word
  std::span<const int32_t> sequence;  // (T), the sequence that a token belongs to
  std::span<const uint8_t> valid;     // (T), 0 for padding; empty: all valid
  Pass* pass = nullptr;               // training or not, and random numbers
};

// What a router looks at in place of x: x, never below f32, and in training times a uniform number in 1 - amount ..
// 1 + amount, element by element (Fedus et al. 2021). The experts get x as it is.
Var jittered(const RouterInput& input, double amount);

class Router {
 public:
  virtual ~Router() = default;
  virtual Selection select(const RouterInput& input) = 0;
  // Called once after each optimizer step with the proposals that each expert received in it.
  virtual void after_step(std::span<const int64_t> /*load*/) {}
  // Whether a token's choice depends on no later token, so that generation may use this router.
  virtual bool causal() const { return true; }
  virtual void visit(const std::string& /*name*/, const ParamVisitor& /*f*/) {}
};

// The router that the configuration names. Error for a combination that makes no sense.
std::unique_ptr<Router> make_router(const ModelConfig& config, Init& init);

// The constructors of the routers, each in a file of moe/routers/ named after its paper.
std::unique_ptr<Router> make_topk_router(const ModelConfig& config, Init& init);
std::unique_ptr<Router> make_switch_router(const ModelConfig& config, Init& init);

}  // namespace switchyard
