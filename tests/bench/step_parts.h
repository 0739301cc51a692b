// Which part of the model each kernel call of a training step belongs to. The step itself is the one that trains: no
// copy of the model, no mark in it. Autograd's history says what was computed from which parameter, and a parameter's
// name says whose it is; what has no parameter belongs to the part around it. Forward, a call serves the next node that
// is made; backward, the node that the gradient has reached.
#pragma once
#include <array>
#include <unordered_map>

#include "tests/bench/profile.h"
#include "tests/bench/training_step.h"

namespace switchyard::bench {

enum class Part : uint8_t {
  embedding,
  norms,        // of the residual stream, and what is added to it
  projections,  // attention's linear layers, and the norms between them
  attention,    // rotary places and the kernel
  routing,      // a router's view, product, choice and auxiliary losses
  dispatch,     // the plan, gates in their slots, answers and gradients summed by token
  experts,      // grouped products and the activation between them
  mlp,          // of dense layers, and shared experts
  head,
  loss,
  optimizer,
  rest,  // before the forward pass and between the phases
};
inline constexpr size_t part_count = static_cast<size_t>(Part::rest) + 1;
inline constexpr std::array<std::string_view, part_count> part_names = {"embedding",
                                                                        "norms, residual sums",
                                                                        "attention: projections",
                                                                        "attention: the kernel",
                                                                        "routing",
                                                                        "dispatch",
                                                                        "experts",
                                                                        "dense and shared MLPs",
                                                                        "head",
                                                                        "loss",
                                                                        "optimizer",
                                                                        "the rest"};

// Whose a parameter is; `op`: of the node that it goes into, for a tied matrix serves at both ends.
// Error for a name that none of the model's parts has.
inline Part part_of_parameter(std::string_view name, std::string_view op) {
  const auto has = [&](std::string_view text) { return name.find(text) != std::string_view::npos; };
  //@begin parameter
  if (has(".attention.")) return Part::projections;
  if (has(".moe.router")) return Part::routing;
  if (has(".moe.experts")) return Part::experts;
  if (has(".moe.shared") || has(".mlp.")) return Part::mlp;
  if (has("norm.")) return Part::norms;
  //@end parameter
  if (has("embedding.")) return op == "gather_rows" ? Part::embedding : Part::head;
  check(name.starts_with("head."), "parameter {}: no part of the step is known to use it", name);
  return Part::head;
}

using ParameterNames = std::unordered_map<const Node*, std::string>;
inline ParameterNames parameter_names(Transformer& model) {
  ParameterNames names;
  model.visit([&](const std::string& name, Var& parameter) { names[parameter.node().get()] = name; });
  return names;
}

// Reads the nodes in the order in which they were made.
class PartReader {
 public:
  explicit PartReader(const ParameterNames& names) : names_(names) {}

  Part operator()(const StepTrace::Reached& node) {
    if (node.parameter) {
      const std::string& name = names_.at(node.parameter);
      const Part part = part_of_parameter(name, node.op);
      // Between a block's second norm and the first product of what follows stands nothing but a router.
      around_ = name.find(".ffn_norm.") != std::string::npos ? Part::routing : part;
      return part;
    }
    if (node.op == "rope" || node.op == "attention") return Part::attention;
    if (node.op == "combine") return around_ = Part::dispatch;
    if (node.op == "cross_entropy") return around_ = Part::loss;
    if (around_ == Part::loss) return Part::loss;
    if (node.scalar) return Part::routing;  // auxiliary losses, added up over the layers
    const bool inside = around_ == Part::routing || around_ == Part::experts;
    if (!inside && (node.op == "add" || node.op == "dropout")) return Part::norms;
    return around_;
  }

 private:
  const ParameterNames& names_;
  Part around_ = Part::embedding;
};

// The part of each call of a step, in the calls' order.
inline std::vector<Part> parts_of_calls(const std::vector<Call>& calls, const StepTrace& trace,
                                        const ParameterNames& names) {
  std::vector<Part> of_call(calls.size(), Part::optimizer), of_node(trace.nodes.size());
  PartReader read(names);
  size_t i = 0;
  const auto forward = [&] { return i < calls.size() && calls[i].end < trace.backward; };
  for (size_t n = trace.nodes.size(); n-- > 0;) {
    const StepTrace::Reached& node = trace.nodes[n];
    if (node.op == "leaf") continue;
    of_node[n] = read(node);
    const auto first = calls.begin() + static_cast<ptrdiff_t>(i);
    while (forward() && calls[i].id < node.id) ++i;
    const auto last = calls.begin() + static_cast<ptrdiff_t>(i);
    const auto plan = std::find_if(first, last, [](const Call& call) { return call.kernel == "plan"; });
    const bool planned = plan != last;
    // Not every router leaves a node of its own: what comes before the plan is the router's even so.
    for (auto call = first; call != last; ++call) {
      Part& part = of_call[static_cast<size_t>(call - calls.begin())] = of_node[n];
      if (planned && !call->kernel.starts_with("grouped")) part = call < plan ? Part::routing : Part::dispatch;
    }
    if (planned && !node.parameter) of_node[n] = Part::dispatch;  // the gates, in the order of the slots
  }
  for (; forward(); ++i) of_call[i] = Part::loss;
  for (size_t n = 0; i < calls.size() && calls[i].end < trace.optimizer; ++i) {
    while (n + 1 < trace.nodes.size() && trace.nodes[n + 1].time < calls[i].end) ++n;
    // A token's gradient is the sum over its slots: what combine does forward.
    of_call[i] = calls[i].kernel == "combine" ? Part::dispatch : of_node[n];
  }
  return of_call;
}

// What a part adds to one step.
struct PartSum {
  double forward = 0, backward = 0, other = 0;  // seconds
  double flops = 0, bytes = 0, yardstick_flops = 0;
  std::map<int, double> by = {};  // the yardstick's operations by what limits
  int64_t calls = 0;
  double seconds() const { return forward + backward + other; }
  // What sets most of the least time: the level's index, or -1 for arithmetic.
  int limited_by() const {
    const auto more = [](const auto& a, const auto& b) { return a.second < b.second; };
    return by.empty() ? -1 : std::max_element(by.begin(), by.end(), more)->first;
  }
};
using PartSums = std::array<PartSum, part_count>;

// The whole step, cut into parts: the time between two calls is that of the second's part, and what is left is "the
// rest", so that the parts' times add up to the step's.
inline PartSums parts_of(const StepRun& run, const StepTrace& trace, const ParameterNames& names,
                         const Limits& limits) {
  PartSums sums;
  const std::vector<Part> of_call = parts_of_calls(run.calls, trace, names);
  double before = 0, counted = 0;
  for (size_t i = 0; i < run.calls.size(); ++i) {
    const Call& call = run.calls[i];
    PartSum& sum = sums[static_cast<size_t>(of_call[i])];
    const bool forward = call.end < trace.backward, backward = !forward && call.end < trace.optimizer;
    const double phase = forward ? trace.forward : backward ? trace.backward : trace.optimizer;
    const double seconds = call.end - std::max(before, phase);
    (forward ? sum.forward : backward ? sum.backward : sum.other) += seconds;
    before = call.end, counted += seconds;
    const Bound bound = bound_of(call.cost, call.element, limits);
    ++sum.calls, sum.flops += call.cost.flops, sum.bytes += call.cost.bytes();
    sum.yardstick_flops += bound.yardstick_flops, sum.by[bound.by] += bound.yardstick_flops;
  }
  sums[static_cast<size_t>(Part::rest)].other = run.seconds - counted;
  return sums;
}

}  // namespace switchyard::bench
