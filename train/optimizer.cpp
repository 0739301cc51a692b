#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/ops.h"
#include "train/adamw.h"
#include "train/muon.h"

namespace switchyard {

Group group_of(const std::string& name, const Shape& shape, const TrainConfig& c) {
  //@begin group
  const bool matrix = shape.rank() >= 2;
  const bool router = name.find(".router.") != std::string::npos;
  const bool hidden = matrix && !router && name.starts_with("layers.");
  Group group{.muon = c.optimizer == OptimizerKind::muon && hidden};
  if (router) group.rate = c.router_rate;
  const bool in_part = c.decay == Decay::matrices ? matrix : hidden;
  if (in_part || c.decay == Decay::all) group.decay = c.weight_decay;
  //@end group
  return group;
}

Optimizer::Optimizer(Transformer& model, const TrainConfig& config)
    : config_(config), scale_(Tensor::zeros({2}, Dtype::f64, model.device())) {
  const auto zeros = [](const Var& p) { return Tensor::zeros(p.shape(), p.dtype(), p.value().device()); };
  model.visit([&](const std::string& name, Var& p) {
    if (!p.requires_grad()) return;
    Slot slot{.name = name, .parameter = p, .group = group_of(name, p.shape(), config), .mean = zeros(p)};
    if (!slot.group.muon) slot.mean_square = zeros(p);
    if (config.average) slot.average = zeros(p);
    slots_.push_back(std::move(slot));
  });
  squares_ = Tensor({static_cast<int64_t>(slots_.size())}, Dtype::f64, model.device());
}

void Optimizer::measure(int64_t passes) {
  const Device device = scale_.device();
  fill_bytes(squares_.raw(), device, 0, squares_.bytes());  // where nothing depends on a parameter
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Tensor& gradient = slots_[i].parameter.grad();
    if (!gradient.defined()) continue;
    with_float_type(gradient.dtype(), [&]<class T>() {
      kernels<T>(device).sum_squares(gradient.count(), gradient.data<T>(), squares_.data<double>() + i);
    });
  }
  kernels<float>(device).gradient_scale(squares_.count(), squares_.data<double>(), double(passes), config_.clip,
                                        scale_.data<double>());
}

void Optimizer::skip() {
  ++steps_;
  for (Slot& s : slots_) s.parameter.clear_grad();
}

void Optimizer::update(double rate) {
  ++steps_, ++updates_;
  for (Slot& s : slots_) {
    const Tensor &gradient = s.parameter.grad(), &weight = s.parameter.value();
    if (!gradient.defined()) continue;
    const double own = rate * s.group.rate;
    if (s.group.muon)
      muon({own, config_.momentum, s.group.decay}, gradient, scale_.values()[1], weight, s.mean);
    else
      adamw({own, config_.beta1, config_.beta2, config_.epsilon, s.group.decay}, updates_, gradient,
            scale_.data<double>() + 1, weight, s.mean, s.mean_square);
    s.parameter.clear_grad();
    if (config_.average) average(s);
  }
}

// average += (1 - b) (weight - average), where b rises to --average: the first weights, far from any good ones, are
// forgotten soon.
void Optimizer::average(Slot& s) const {
  //@begin average
  const double t = double(updates_);
  const double b = t == 1 ? 0 : std::min(*config_.average, t / (t + 10));
  const Tensor& weight = s.parameter.value();
  const Tensor moved = add(scale(s.average, b), scale(weight, 1 - b));
  //@end average
  copy_bytes(s.average.raw(), moved.device(), moved.raw(), moved.device(), moved.bytes());
}

void Optimizer::with_average(const std::function<void()>& f) {
  check(config_.average.has_value(), "no mean of the weights is kept: --average asks for one");
  if (updates_ == 0) return f();  // it begins with the first update
  // set_value() would leave what else holds the parameter with the old memory, so the numbers change places.
  const auto swap = [&] {
    for (Slot& s : slots_) {
      const Tensor weight = s.parameter.value().clone(), &now = s.parameter.value();
      copy_bytes(now.raw(), now.device(), s.average.raw(), now.device(), now.bytes());
      copy_bytes(s.average.raw(), now.device(), weight.raw(), now.device(), now.bytes());
    }
  };
  swap();
  try {
    f();
  } catch (...) {
    swap();
    throw;
  }
  swap();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> tensors;
  for (const Slot& s : slots_) {
    tensors.push_back({"mean." + s.name, s.mean});
    if (s.mean_square.defined()) tensors.push_back({"mean_square." + s.name, s.mean_square});
    if (s.average.defined()) tensors.push_back({"average." + s.name, s.average});
  }
  return tensors;
}

void Optimizer::restore(const SafetensorsFile& file, int64_t steps, int64_t updates) {
  for (Slot& s : slots_) {
    file.load_into("mean." + s.name, s.mean);
    if (s.mean_square.defined()) file.load_into("mean_square." + s.name, s.mean_square);
    if (s.average.defined()) file.load_into("average." + s.name, s.average);
  }
  steps_ = steps, updates_ = updates;
}

double learning_rate(const TrainConfig& c, int64_t step) {
  if (step < c.warmup) return c.rate * double(step + 1) / double(c.warmup);
  const double steps = double(std::max<int64_t>(c.steps, 1)), low = c.rate * c.final_rate;
  if (c.schedule == Schedule::constant) return c.rate;
  if (c.schedule == Schedule::wsd) {
    const double left = (steps - double(step)) / std::max(1.0, c.decay_share * steps);  // 1 where the decay begins
    return low + (c.rate - low) * std::min(1.0, left);
  }
  const double done = double(step - c.warmup) / std::max(1.0, steps - double(c.warmup));
  //@begin cosine
  const double wave = std::cos(std::numbers::pi * std::min(done, 1.0));
  return low + (c.rate - low) * 0.5 * (1 + wave);
  //@end cosine
}

}  // namespace switchyard
