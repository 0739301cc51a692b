#include "moe/plan.h"

#include <algorithm>
#include <cmath>

namespace switchyard {
namespace {

void check_same_proposals(const RoutingPlan& plan, const Selection& selection) {
  const Tensor proposals = plan.slot_proposal.to(Device::cpu), tokens = plan.slot_token.to(Device::cpu);
  const Tensor proposing = selection.token.to(Device::cpu);
  const int32_t *proposal = proposals.data<int32_t>(), *token = tokens.data<int32_t>();
  for (int64_t s = 0; s < plan.slots && proposal[s] >= 0; ++s)
    check(proposal[s] < proposing.count() && proposing.data<int32_t>()[proposal[s]] == token[s],
          "replay: the plan is of other proposals than the {} made here", selection.token.count());
}

}  // namespace

int64_t Capacity::slots(int64_t proposals, int64_t E) const {
  if (!factor) return std::max<int64_t>(proposals, 1);
  return std::max<int64_t>(min, static_cast<int64_t>(std::ceil(*factor * double(proposals) / double(E))));
}

RoutingPlan build_plan(const Selection& selection, int64_t tokens, int64_t experts, const Capacity& capacity) {
  const int64_t A = selection.token.count();
  const Device device = selection.expert.device();
  const auto indices = [&](int64_t n) { return Tensor({n}, Dtype::i32, device); };
  RoutingPlan plan{.tokens = tokens,
                   .experts = experts,
                   .slots = 0,
                   .offset = indices(experts + 1),
                   .slot_token = indices(A),
                   .slot_proposal = indices(A),
                   .token_offset = indices(tokens + 1),
                   .token_slot = indices(A),
                   .proposed = indices(experts),
                   .dropped = indices(experts),
                   .gate = {}};
  with_float_type(selection.gate.dtype(), [&]<class T>() {
    PlanArrays<T> arrays{.A = A,
                         .tokens = tokens,
                         .E = experts,
                         .capacity = capacity.slots(A, experts),
                         .token = selection.token.data<int32_t>(),
                         .expert = selection.expert.data<int32_t>(),
                         .priority = selection.priority.defined() ? selection.priority.data<Wide<T>>() : nullptr,
                         .offset = plan.offset.data<int32_t>(),
                         .slot_proposal = plan.slot_proposal.data<int32_t>(),
                         .slot_token = plan.slot_token.data<int32_t>(),
                         .token_offset = plan.token_offset.data<int32_t>(),
                         .token_slot = plan.token_slot.data<int32_t>(),
                         .proposed = plan.proposed.data<int32_t>(),
                         .dropped = plan.dropped.data<int32_t>()};
    kernels<T>(device).plan(arrays);
  });
  //@begin slots
  plan.slots = device == Device::cpu ? plan.offset.data<int32_t>()[experts] : A;
  plan.slot_token = plan.slot_token.rows(0, plan.slots);
  plan.slot_proposal = plan.slot_proposal.rows(0, plan.slots);
  plan.token_slot = plan.token_slot.rows(0, plan.slots);
  //@end slots
  plan.gate = gather_rows(selection.gate, plan.slot_proposal);
  return plan;
}

//@begin replay
RoutingPlan replay_plan(const RoutingPlan& plan, const Selection& selection) {
  check_same_proposals(plan, selection);
  RoutingPlan replayed = plan;
  replayed.gate = gather_rows(selection.gate, plan.slot_proposal);
  return replayed;
}
//@end replay

std::vector<int32_t> RoutingPlan::slot_expert() const {
  const Tensor begin = offset.to(Device::cpu);
  const int32_t* first = begin.data<int32_t>();
  std::vector<int32_t> expert(static_cast<size_t>(first[experts]));
  for (int32_t e = 0; e < experts; ++e) std::fill(expert.begin() + first[e], expert.begin() + first[e + 1], e);
  return expert;
}

}  // namespace switchyard
