#include "autograd/var.h"

#include <algorithm>
#include <atomic>
#include <string_view>
#include <unordered_set>

#include "tensor/ops.h"

namespace switchyard {
namespace {

std::atomic<uint64_t> next_id{1};
thread_local bool recording = true;

}  // namespace

Var::Var(Tensor value, bool requires_grad) : node_(std::make_shared<Node>()) {
  node_->value = std::move(value);
  node_->requires_grad = requires_grad;
  node_->id = next_id++;
}

const Tensor& Var::value() const {
  check(defined(), "value of an empty Var: it holds nothing");
  return node_->value;
}
bool Var::requires_grad() const { return node_ && node_->requires_grad; }
const Tensor& Var::grad() const { return node_->grad; }
void Var::clear_grad() { node_->grad = Tensor(); }

void Var::set_value(Tensor value) {
  check(node_->inputs.empty(), "set_value on the result of {}: only leaves can be set", node_->op);
  node_->value = std::move(value);
}

void Var::accumulate(Tensor g) const {
  if (!requires_grad()) return;
  check(g.shape() == shape(), "gradient of shape {} for a value of shape {}", g.shape().text(), shape().text());
  //@begin accumulate
  Tensor& grad = node_->grad;
  if (!grad.defined())
    grad = std::move(g);
  else if (grad.unique())
    add_into(grad, g);
  else
    grad = add(grad, g);  // somebody else holds this memory: leave it as it is
  //@end accumulate
}

Var make(const char* op, Tensor value, std::vector<Var> inputs, std::function<void(Node&)> backward) {
  Var result(std::move(value));
  const bool wanted = std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.requires_grad(); });
  //@begin make
  if (recording && wanted) {
    Node& node = *result.node_;
    node.op = op;
    node.requires_grad = true;
    node.inputs = std::move(inputs);
    node.backward = std::move(backward);
  }
  //@end make
  return result;
}

void backward(const Var& loss, const std::function<void(const Node&)>& complete) {
  check(loss.value().count() == 1, "backward of shape {}: the loss must be one number", loss.shape().text());
  check(loss.requires_grad(), "backward: nothing in the loss's history wants a gradient");
  // Collect everything that was computed, with a stack of our own: a history may be a million nodes deep.
  std::vector<std::shared_ptr<Node>> order{loss.node()};
  std::unordered_set<const Node*> seen{loss.node().get()};
  for (size_t i = 0; i < order.size(); ++i) {
    check(order[i]->backward || order[i]->op == std::string_view("leaf"),
          "backward through {}: an earlier backward has released its history", order[i]->op);
    //@begin collect
    for (const Var& input : order[i]->inputs) {
      if (!input.requires_grad()) continue;
      if (seen.insert(input.node().get()).second) order.push_back(input.node());
    }
    //@end collect
  }
  // A node is younger than all its inputs, so from the youngest on, every gradient is complete when it is used.
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a->id > b->id; });
  const Tensor one = Tensor::full(loss.shape(), 1, loss.dtype(), loss.value().device());
  //@begin backward
  loss.accumulate(one);
  for (std::shared_ptr<Node>& node : order) {
    if (complete && node->grad.defined()) complete(*node);
    if (!node->backward) continue;  // a leaf keeps its gradient
    if (node->grad.defined()) node->backward(*node);
    node->backward = nullptr;
    node->grad = Tensor();
    node->inputs.clear();
    node.reset();
  }
  //@end backward
}

// Destroying a long history node by node would recurse as deep as it is long; this loop takes it apart instead.
//@begin destroy
Node::~Node() {
  std::vector<Var> doomed = std::move(inputs);
  while (!doomed.empty()) {
    Var last = std::move(doomed.back());
    doomed.pop_back();
    if (!last.defined() || last.node().use_count() > 1) continue;
    for (Var& input : last.node()->inputs) doomed.push_back(std::move(input));
    last.node()->inputs.clear();
  }
}
//@end destroy

NoGrad::NoGrad() : before_(recording) { recording = false; }
NoGrad::~NoGrad() { recording = before_; }

}  // namespace switchyard
