// Chapter 38: what AdamW and Muon make of one gradient, a mean of weights, and the noise of a gradient.
#include <fmt/format.h>

#include <cmath>

#include "tensor/random.h"
#include "train/adamw.h"
#include "train/gradient_noise.h"
#include "train/muon.h"

using namespace switchyard;

namespace {

void print(const char* title, const Tensor& x) {
  const std::vector<double> v = x.values();
  fmt::print("{:<26}{:+.3f} {:+.3f}   {:+.3f} {:+.3f}\n", title, v[0], v[1], v[2], v[3]);
}

// One step from zero weights with a rate of 1, so the weights are the step.
void one_gradient() {
  const Tensor gradient = Tensor::from(std::vector<double>{3, 2.9, 0.2, 0.3}, {2, 2});
  const Tensor one = Tensor::full({1}, 1, Dtype::f64);
  const auto zeros = [] { return Tensor::zeros({2, 2}); };
  fmt::print("rows of a 2 x 2 matrix\n");
  print("gradient", gradient);
  const Tensor adam = zeros();
  adamw({.rate = 1, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0}, 1, gradient, one.data<double>(), adam,
        zeros(), zeros());
  print("AdamW's first step", adam);
  print("orthogonal", orthogonalized(gradient));
  const Tensor moved = zeros();
  muon({.rate = 1, .momentum = 0.95, .decay = 0}, gradient, 1, moved, zeros());
  print("Muon's first step", moved);
}

// Newton and Schulz work on each singular value alone, so numbers show all that they do.
void five_steps() {
  fmt::print("\na singular value, after each of five steps\n");
  for (double s : {1.0, 0.5, 0.1, 0.02, 0.002}) {
    fmt::print("{:.3f} ", s);
    for (int step = 0; step < 5; ++step) {
      s = 3.4445 * s - 4.7750 * s * s * s + 2.0315 * s * s * s * s * s;
      fmt::print("  {:+.3f}", s);
    }
    fmt::print("\n");
  }
}

// Weights that wander around the best value, 1: the mean of many is nearer than any.
void mean_of_weights() {
  fmt::print("\nstep, a weight that wanders around 1, and its mean\n");
  double mean = 0;
  for (int t = 1; t <= 200; ++t) {
    const double weight = 1 + 0.3 * normal({1, 1}, uint64_t(t)), b = std::min(0.98, t / (t + 10.0));
    mean = b * mean + (1 - b) * weight;
    if (t == 1 || t == 5 || t == 20 || t == 100 || t == 200) fmt::print("{:4}  {:.3f}  {:.3f}\n", t, weight, mean);
  }
}

// Gradients of 100 numbers, each of them 0.1 and a noise of deviation 0.5 for every sequence: the scale is 0.5^2 / 0.1^2.
void noise() {
  GradientNoise estimate;
  uint64_t n = 0;
  fmt::print("\nsteps, noise scale in sequences (it is 25)\n");
  for (int step = 1; step <= 1000; ++step) {
    double sum[100] = {}, norms[2] = {};
    for (int sequence = 1; sequence <= 16; ++sequence) {
      for (double& x : sum) x += 0.1 + 0.5 * normal({2, 2}, n++);
      if (sequence != 4 && sequence != 16) continue;
      double& norm = norms[sequence == 16];
      for (double x : sum) norm += (x / sequence) * (x / sequence);
      norm = std::sqrt(norm);
    }
    estimate.add(norms[0], 4, norms[1], 16);
    if (step == 1 || step == 10 || step == 100 || step == 1000) fmt::print("{:4}  {:.1f}\n", step, estimate.scale());
  }
}

}  // namespace

int main() {
  one_gradient();
  five_steps();
  mean_of_weights();
  noise();
}
