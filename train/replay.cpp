#include "train/replay.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

namespace switchyard {
namespace {

// "3 of 1536 numbers are not finite, the first at [1, 4]"; "" if all are.
std::string not_finite(const Tensor& tensor) {
  if (!tensor.defined() || tensor.dtype() == Dtype::i32) return "";
  const std::vector<double> x = tensor.values();
  int64_t count = 0, first = -1;
  for (size_t i = 0; i < x.size(); ++i)
    if (!std::isfinite(x[i])) {
      ++count;
      if (first < 0) first = static_cast<int64_t>(i);
    }
  if (count == 0) return "";
  std::string at;
  for (int axis = static_cast<int>(tensor.shape().rank()) - 1; axis >= 0; --axis) {
    at = fmt::format("{}{}{}", first % tensor.shape()[axis], at.empty() ? "" : ", ", at);
    first /= tensor.shape()[axis];
  }
  return fmt::format("{} of {} numbers are not finite, the first at [{}]", count, x.size(), at);
}

// Every node below `last`, the oldest first: the order in which they were computed.
std::vector<const Node*> history(const Var& last) {
  std::vector<const Node*> nodes{last.node().get()};
  std::unordered_set<const Node*> seen{nodes[0]};
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const Var& input : nodes[i]->inputs)
      if (input.defined() && seen.insert(input.node().get()).second) nodes.push_back(input.node().get());
  std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) { return a->id < b->id; });
  return nodes;
}

class Detective {
 public:
  explicit Detective(Transformer& model) {
    model.visit([&](const std::string& name, Var& p) {
      name_[p.node().get()] = name;
      if (culprit.empty()) accuse("weight " + name, p.value());
    });
  }

  // Names every result of the pass by its operation, and by the last parameter that had been used until then.
  void look_forward(const Var& total) {
    std::string where = "the beginning";
    for (const Node* node : history(total)) {
      for (const Var& input : node->inputs)
        if (const auto found = name_.find(input.node().get()); found != name_.end()) where = found->second;
      if (node->inputs.empty()) continue;
      place_[node] = fmt::format("{} {}, at {}", node->op, node->value.shape().text(), where);
      if (culprit.empty()) accuse("result of " + place_[node], node->value);
    }
  }

  void look_at_gradient(const Node& node) {
    if (!culprit.empty()) return;
    const auto parameter = name_.find(&node);
    accuse("gradient of " + (parameter != name_.end() ? parameter->second : place_[&node]), node.grad);
  }

  std::string culprit;

 private:
  void accuse(const std::string& what, const Tensor& tensor) {
    if (const std::string wrong = not_finite(tensor); !wrong.empty()) culprit = what + ": " + wrong;
  }
  std::unordered_map<const Node*, std::string> name_, place_;
};

double norm_of(const Tensor& x) {
  double squares = 0;
  for (double value : x.values()) squares += value * value;
  return std::sqrt(squares);
}

double largest_of(const Tensor& x) {
  double largest = 0;
  for (double value : x.values()) largest = std::max(largest, std::abs(value));
  return largest;
}

// The loss of each sequence of a pass, with its text.
std::vector<Replay::Sequence> sequences_of(Trainer& trainer, int64_t pass, const Var& logits) {
  const RunConfig& c = trainer.config();
  const int64_t B = c.train.batch, T = c.model.context;
  const Batch batch = trainer.data().batch(pass, B, T, c.train.seed);
  const NoGrad no_grad;
  const std::vector<double> loss = cross_entropy(Var(logits.value()), batch.targets.to(c.device)).value().values();
  std::vector<Replay::Sequence> all;
  for (int64_t b = 0; b < B; ++b) {
    Replay::Sequence sequence{0, ""};
    int64_t counted = 0;
    for (int64_t i = b * T; i < (b + 1) * T; ++i) {
      if (batch.targets.data<int32_t>()[i] >= 0) sequence.loss += loss[static_cast<size_t>(i)], ++counted;
      sequence.text += trainer.data().tokenizer().bytes_of(batch.tokens.data<int32_t>()[i]);
    }
    sequence.loss /= double(std::max<int64_t>(counted, 1));
    all.push_back(std::move(sequence));
  }
  return all;
}

}  // namespace

Replay replay(Trainer& trainer) {
  const int64_t passes = trainer.config().train.accumulate, before = trainer.steps_done();
  Replay result{.step = before + 1};
  Detective detective(trainer.model());
  for (int64_t i = 0; i < passes; ++i) {
    const Trainer::Forward f = trainer.forward(before * passes + i, trainer.config().train.batch);
    result.loss += f.loss.value().item() / double(passes);
    detective.look_forward(f.total);
    for (Replay::Sequence& sequence : sequences_of(trainer, before * passes + i, f.result.logits))
      result.sequences.push_back(std::move(sequence));
    backward(f.total, [&](const Node& node) { detective.look_at_gradient(node); });
  }
  std::stable_sort(result.sequences.begin(), result.sequences.end(), [](const auto& a, const auto& b) {
    return (std::isnan(a.loss) && !std::isnan(b.loss)) || a.loss > b.loss;
  });
  trainer.optimizer().measure(passes);
  result.gradient_norm = trainer.optimizer().gradient_norm();
  result.culprit = detective.culprit;
  trainer.model().visit([&](const std::string& name, Var& p) {
    if (!p.grad().defined()) return;
    result.shares.push_back({name, norm_of(p.grad()) / double(passes), largest_of(p.value())});
    p.clear_grad();
  });
  std::stable_sort(result.shares.begin(), result.shares.end(),
                   [](const auto& a, const auto& b) { return a.norm > b.norm; });
  return result;
}

}  // namespace switchyard
