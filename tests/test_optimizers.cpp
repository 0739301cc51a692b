// Muon, groups of parameters, the mean of the weights and the gradient's noise, each against its paper's statement.
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/gradients.h"
#include "tests/moe_models.h"
#include "train/gradient_noise.h"
#include "train/muon.h"
#include "train/trainer.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

Tensor random_matrix(Shape shape, uint64_t seed, double deviation = 1) {
  std::vector<double> x(size_t(shape.count()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = deviation * normal({seed, 5}, i);
  return Tensor::from(x, shape, Dtype::f64);
}

// The eigenvalues of a symmetric matrix (n, n), falling, by Jacobi's rotations.
std::vector<double> eigenvalues(std::vector<double> a, size_t n) {
  for (int sweep = 0; sweep < 60; ++sweep)
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        if (std::abs(a[p * n + q]) < 1e-300) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double x = a[k * n + p], y = a[k * n + q];
          a[k * n + p] = c * x - s * y, a[k * n + q] = s * x + c * y;
        }
        for (size_t k = 0; k < n; ++k) {
          const double x = a[p * n + k], y = a[q * n + k];
          a[p * n + k] = c * x - s * y, a[q * n + k] = s * x + c * y;
        }
      }
  std::vector<double> values;
  for (size_t i = 0; i < n; ++i) values.push_back(a[i * n + i]);
  std::sort(values.rbegin(), values.rend());
  return values;
}

// Singular values of x (rows, cols), falling; as many as the smaller side.
std::vector<double> singular_values(const Tensor& x) {
  const auto R = size_t(x.rows()), C = size_t(x.cols()), n = std::min(R, C);
  const std::vector<double> v = x.values();
  std::vector<double> square(n * n, 0.0);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < std::max(R, C); ++k)
        square[i * n + j] += R <= C ? v[i * C + k] * v[j * C + k] : v[k * C + i] * v[k * C + j];
  std::vector<double> values = eigenvalues(square, n);
  for (double& s : values) s = std::sqrt(std::max(s, 0.0));
  return values;
}

// What five steps of Jordan's polynomial make of one singular value.
double five_steps(double s) {
  for (int i = 0; i < 5; ++i) s = 3.4445 * s - 4.7750 * s * s * s + 2.0315 * s * s * s * s * s;
  return s;
}

}  // namespace

TEST_CASE("muon: a matrix keeps its singular vectors, and its singular values become about 1") {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{6, 6}, {5, 9}, {9, 5}, {1, 7}, {7, 1}, {32, 24}}) {
    CAPTURE(rows);
    const Tensor x = random_matrix({rows, cols}, uint64_t(rows * 100 + cols), 3.7);
    const Tensor y = orthogonalized(x);
    REQUIRE(y.shape() == x.shape());
    double norm = 0;
    for (double v : x.values()) norm += v * v;
    norm = std::sqrt(norm) + 1e-7;
    std::vector<double> expected;
    for (double s : singular_values(x)) expected.push_back(std::abs(five_steps(s / norm)));
    std::sort(expected.rbegin(), expected.rend());
    const std::vector<double> found = singular_values(y);
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));
      if (rows < 32) CHECK((found[i] > 0.3 && found[i] < 1.3));  // a value far below the others takes more steps
    }
    // x^T y = V S f(S) V^T is symmetric just if y has the singular vectors of x.
    const std::vector<double> a = x.values(), b = y.values();
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < i; ++j) {
        double ij = 0, ji = 0;
        for (int64_t k = 0; k < rows; ++k) {
          ij += a[size_t(k * cols + i)] * b[size_t(k * cols + j)];
          ji += a[size_t(k * cols + j)] * b[size_t(k * cols + i)];
        }
        CHECK(ij == doctest::Approx(ji).epsilon(1e-9));
      }
  }
  for (double v : orthogonalized(Tensor::zeros({4, 3}, Dtype::f64)).values()) CHECK(v == 0);
}

TEST_CASE("muon: momentum, Nesterov's step, its length and the decay, step by step") {
  const int64_t out = 6, in = 4;
  const Tensor w = random_matrix({out, in}, 1), m = Tensor::zeros({out, in}, Dtype::f64);
  std::vector<double> weight = w.values(), mean(size_t(out * in), 0.0);
  const MuonRates rates{.rate = 0.03, .momentum = 0.9, .decay = 0.2};
  for (uint64_t step = 0; step < 4; ++step) {
    const Tensor gradient = random_matrix({out, in}, 10 + step);
    const double shrink = 0.5;
    muon(rates, gradient, shrink, w, m);
    std::vector<double> ahead(mean.size());
    const std::vector<double> g = gradient.values();
    for (size_t i = 0; i < mean.size(); ++i) {
      mean[i] = 0.9 * mean[i] + shrink * g[i];
      ahead[i] = 0.9 * mean[i] + shrink * g[i];
    }
    const std::vector<double> direction = orthogonalized(Tensor::from(ahead, {out, in}, Dtype::f64)).values();
    for (size_t i = 0; i < mean.size(); ++i)
      weight[i] = weight[i] - 0.03 * (0.2 * std::sqrt(6.0) * direction[i] + 0.2 * weight[i]);
    for (size_t i = 0; i < mean.size(); ++i) {
      CHECK(w.values()[i] == doctest::Approx(weight[i]).epsilon(1e-12));
      CHECK(m.values()[i] == doctest::Approx(mean[i]).epsilon(1e-12));
    }
  }
  const std::vector<double> before = w.values();
  muon(rates, random_matrix({out, in}, 99), 0, w, m);  // a gradient that is no number: nothing moves
  CHECK(w.values() == before);
  CHECK(m.values()[3] == doctest::Approx(mean[3]).epsilon(1e-12));
}

TEST_CASE("muon: a stack of experts is moved expert by expert") {
  const int64_t E = 3, out = 5, in = 7;
  const Tensor w = random_matrix({E, out, in}, 1), m = random_matrix({E, out, in}, 2),
               g = random_matrix({E, out, in}, 3);
  const Tensor stack_w = w.clone(), stack_m = m.clone();
  muon({0.1, 0.95, 0.1}, g, 1, stack_w, stack_m);
  for (int64_t e = 0; e < E; ++e) {
    const Tensor we = w.rows(e, e + 1).reshape({out, in}).clone(), me = m.rows(e, e + 1).reshape({out, in}).clone();
    muon({0.1, 0.95, 0.1}, g.rows(e, e + 1).reshape({out, in}).clone(), 1, we, me);
    CHECK(stack_w.rows(e, e + 1).values() == we.values());
    CHECK(stack_m.rows(e, e + 1).values() == me.values());
  }
}

TEST_CASE("optimizer: which group a parameter belongs to") {
  TrainConfig c{.optimizer = OptimizerKind::muon, .router_rate = 0.1, .weight_decay = 0.3};
  const Shape matrix{4, 4}, stack{2, 4, 4}, row{4};
  const char* out = "layers.0.attention.out.weight";
  CHECK(group_of(out, matrix, c).muon);
  CHECK(group_of("layers.1.moe.experts.in", stack, c).muon);
  CHECK(!group_of("layers.1.moe.router.weight", matrix, c).muon);
  CHECK(!group_of("embedding.weight", matrix, c).muon);
  CHECK(!group_of("head.weight", matrix, c).muon);
  CHECK(!group_of("layers.0.ffn_norm.weight", row, c).muon);
  CHECK(group_of("layers.1.moe.router.weight", matrix, c).rate == 0.1);
  CHECK(group_of(out, matrix, c).rate == 1);
  const auto decays = [&](Decay decay) {
    c.decay = decay;
    return std::vector<double>{group_of(out, matrix, c).decay, group_of("embedding.weight", matrix, c).decay,
                               group_of("layers.1.moe.router.weight", matrix, c).decay,
                               group_of("layers.0.ffn_norm.weight", row, c).decay};
  };
  CHECK(decays(Decay::matrices) == std::vector<double>{0.3, 0.3, 0.3, 0});
  CHECK(decays(Decay::hidden) == std::vector<double>{0.3, 0, 0, 0});
  CHECK(decays(Decay::all) == std::vector<double>{0.3, 0.3, 0.3, 0.3});
  c.optimizer = OptimizerKind::adamw;
  CHECK(!group_of(out, matrix, c).muon);
}

TEST_CASE("optimizer: the router's rate is its own, the others' is not changed by it") {
  const auto moved = [](double router_rate) {
    Transformer model(tiny(), 1, Dtype::f64);
    Optimizer optimizer(model, {.router_rate = router_rate, .weight_decay = 0, .clip = 1e9});
    std::map<std::string, std::vector<double>> before, change;
    model.visit([&](const std::string& name, Var& p) {
      before[name] = p.value().values();
      if (p.requires_grad()) p.accumulate(Tensor::full(p.shape(), 0.5, Dtype::f64));
    });
    optimizer.step(1e-2, 1);
    model.visit([&](const std::string& name, Var& p) {
      const std::vector<double> now = p.value().values();
      for (size_t i = 0; i < now.size(); ++i) change[name].push_back(now[i] - before[name][i]);
    });
    return change;
  };
  auto one = moved(1), tenth = moved(0.1);
  for (const auto& [name, change] : one) {
    const double factor = name.find(".router.") != std::string::npos ? 0.1 : 1;
    for (size_t i = 0; i < change.size(); ++i)
      CHECK(tenth[name][i] == doctest::Approx(factor * change[i]).epsilon(1e-6));
  }
}

TEST_CASE("optimizer: the mean of the weights, step by step, and back") {
  Transformer model(tiny(), 1, Dtype::f64);
  Optimizer optimizer(model, {.average = 0.6, .clip = 1e9});
  const auto values = [&] {
    std::vector<double> all;
    model.visit([&](const std::string&, Var& p) {
      for (double x : p.value().values()) all.push_back(x);
    });
    return all;
  };
  std::vector<double> mean;
  for (int t = 1; t <= 30; ++t) {
    uint64_t n = 0;
    model.visit([&](const std::string&, Var& p) { p.accumulate(random_matrix(p.shape(), uint64_t(1000 * t) + n++)); });
    optimizer.step(0.01, 1);
    const double b = std::min(0.6, t / (t + 10.0));
    const std::vector<double> now = values();
    if (t == 1) mean = now;  // of one thing the mean is itself
    for (size_t i = 0; i < mean.size(); ++i) mean[i] = b * mean[i] + (1 - b) * now[i];
  }
  const std::vector<double> last = values();
  bool called = false;
  optimizer.with_average([&] {
    called = true;
    const std::vector<double> now = values();
    for (size_t i = 0; i < mean.size(); ++i) REQUIRE(now[i] == doctest::Approx(mean[i]).epsilon(1e-10));
  });
  CHECK(called);
  CHECK(values() == last);
  CHECK(error_of([&] { optimizer.with_average([] { fail("inside"); }); }) == "inside");
  CHECK(values() == last);
  Optimizer without(model, {});
  CHECK(error_of([&] { without.with_average([] {}); }).find("--average") != std::string::npos);
}

TEST_CASE("gradient noise: of gradients whose noise is known") {
  // Sequences' gradients are G + s e with e standard normal in D dimensions: the trace is D s^2, the scale D s^2 /
  // |G|^2.
  const int D = 400;
  const double s = 0.3, g = 0.05;
  GradientNoise noise;
  CHECK(noise.scale() == 0);
  uint64_t n = 0;
  const auto norm_of_mean = [&](int sequences, std::vector<double>& sum) {
    for (int b = 0; b < sequences; ++b)
      for (double& x : sum) x += g + s * normal({3, 3}, n++);
    return sum;
  };
  for (int step = 0; step < 600; ++step) {
    std::vector<double> sum(D, 0.0);
    const auto norm = [&](int count) {
      double squares = 0;
      for (double x : sum) squares += x * x / (count * count);
      return std::sqrt(squares);
    };
    norm_of_mean(2, sum);
    const double few = norm(2);
    norm_of_mean(6, sum);
    noise.add(few, 2, norm(8), 8);
  }
  CHECK(noise.scale() == doctest::Approx(s * s / (g * g)).epsilon(0.1));  // 36 sequences
  const double before = noise.scale();
  noise.add(std::nan(""), 2, 1, 8);
  CHECK(noise.scale() == before);
}

TEST_CASE("a stopped run goes on to the same bits with Muon, a mean of the weights, and routers of their own rate") {
  const Scratch dir;
  std::string text;
  for (int i = 0; i < 300; ++i) text += fmt::format("{} and {} are {}\n", i, i, 2 * i);
  write_file(dir.path / "text", text);
  TrainConfig train{.tokenizer = TokenizerKind::bytes, .steps = 6, .batch = 2, .accumulate = 2, .eval_tokens = 200};
  train.optimizer = OptimizerKind::muon, train.average = 0.9, train.router_rate = 0.5, train.decay = Decay::hidden;
  train.gradient_noise = true;
  const auto run = [&](const char* name, bool resume, int passes) {
    std::atomic<bool> stop{false};
    RunConfig config{.source = {{dir.path / "text"}}, .model = tiny(), .train = train, .out = dir.path / name};
    config.beside = [&stop, passes, made = 0](const Batch&, const Var&) mutable {
      if (++made == passes) stop = true;
      return AuxTerm{"nothing", Var(Tensor::zeros({1}, Dtype::f32)), 0};
    };
    Trainer trainer(config, resume);
    Report report(config.out, trainer.steps_done(), train.steps, 1, 0, ViewKind::none);
    trainer.run(stop, report);
    return trainer.steps_done();
  };
  CHECK(run("whole", false, -1) == 6);
  CHECK(run("parts", false, 5) == 3);
  CHECK(run("parts", true, -1) == 6);
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    CHECK(read_file(dir.path / "whole" / file) == read_file(dir.path / "parts" / file));
  CHECK(SafetensorsFile(dir.path / "parts/optimizer.safetensors").contains("average.embedding.weight"));
  const auto noise = [&](const char* name) {
    std::vector<double> scales;
    std::istringstream lines(read_file(dir.path / name / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
      if (const auto json = nlohmann::json::parse(line); json.contains("gradient_norm"))
        scales.push_back(json.value("noise_scale", 0.0));
    return scales;
  };
  CHECK(noise("whole").size() == 6);
  CHECK(noise("whole") == noise("parts"));
}
