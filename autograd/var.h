// Reverse-mode automatic differentiation. A Var is a value that remembers how it was computed; backward(loss) walks
// that history and leaves d(loss)/d(leaf) in every leaf that asked for it.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace switchyard {

struct Node;

class Var {
 public:
  Var() = default;  // empty: `defined()` is false
  // A leaf: data, or with requires_grad a parameter.
  explicit Var(Tensor value, bool requires_grad = false);

  bool defined() const { return node_ != nullptr; }
  const Tensor& value() const;
  const Shape& shape() const { return value().shape(); }
  Dtype dtype() const { return value().dtype(); }
  bool requires_grad() const;
  // d(loss)/d(this), same shape; undefined before backward() and for nodes that backward() has released.
  const Tensor& grad() const;
  void clear_grad();
  void set_value(Tensor value);  // leaves only: a new value, the history is empty
  // Adds g to the gradient, in the order called. Does nothing if no gradient is wanted here.
  void accumulate(Tensor g) const;
  const std::shared_ptr<Node>& node() const { return node_; }

 private:
  friend Var make(const char*, Tensor, std::vector<Var>, std::function<void(Node&)>);
  std::shared_ptr<Node> node_;
};

// One operation's result. `backward` reads node.grad and calls accumulate() on node.inputs. It may capture tensors,
// never Vars: the inputs are the only edges of the graph.
//@begin node
struct Node {
  Tensor value, grad;
  std::vector<Var> inputs;
  std::function<void(Node&)> backward;
  const char* op = "leaf";
  //@end node
  uint64_t id = 0;  // grows with creation, so inputs have smaller ids than what is made of them
  bool requires_grad = false;
  ~Node();
};

// The result of an op: attaches the history unless nothing in it wants a gradient or NoGrad is in force.
Var make(const char* op, Tensor value, std::vector<Var> inputs, std::function<void(Node&)> backward);

// Computes the gradients of a one-element loss and releases the history on the way. Gradients of leaves add up over
// calls until clear_grad(). Error if the loss has more than one element or no history. `complete`: called with each
// node once its gradient is whole, from the loss on.
void backward(const Var& loss, const std::function<void(const Node&)>& complete = {});

// While one exists on this thread, ops record no history.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

}  // namespace switchyard
