// Every differentiable operation against its formula and against central differences; then the machinery of autograd.
#include <doctest/doctest.h>

#include <ctime>
#include <memory>

#include "tests/gradients.h"
#include "tests/scratch.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

Vars leaves(const OpCase& c, Dtype dtype) {
  Vars vars;
  for (const Input& input : c.inputs) vars.push_back(Var(Tensor::from(input.values, input.shape, dtype), true));
  return vars;
}

}  // namespace

TEST_SUITE_BEGIN("autograd: operations");

TEST_CASE("every operation equals its plain loop") {
  for (auto [dtype, tolerance] : {std::pair{Dtype::f64, 1e-12}, {Dtype::f32, 5e-6}}) {
    Worst worst;
    for (const OpCase& c : op_cases()) {
      CAPTURE(c.name);
      const Var y = c.op(leaves(c, dtype));
      REQUIRE(y.shape() == c.shape);
      CHECK(y.dtype() == dtype);
      std::vector<Numbers> x;
      for (const Input& input : c.inputs) x.push_back(input.values);
      Numbers want;
      for (size_t i = 0; i < size_t(c.shape.count()); ++i) want.push_back(c.value(x, i));
      const double error = largest_difference(y.value().values(), want) / std::max(1.0, largest(want));
      CHECK(error <= tolerance);
      worst.see(error, c.name);
    }
    MESSAGE(std::string(name(dtype)) << ": " << worst.text());
  }
}

TEST_CASE("every operation's gradients equal central differences") {
  Worst worst;
  for (const OpCase& c : op_cases()) {
    if (!c.gradients) continue;
    CAPTURE(c.name);
    const double error = gradcheck(c.op, leaves(c, Dtype::f64));
    CHECK(error <= 1e-6);
    worst.see(error, c.name);
  }
  MESSAGE(worst.text());
}

TEST_CASE("f32 gradients equal those of f64") {
  Worst worst;
  for (const OpCase& c : op_cases()) {
    CAPTURE(c.name);
    const Vars narrow = leaves(c, Dtype::f32), wide = leaves(c, Dtype::f64);
    backward(weighted_loss(c.op(narrow)));
    backward(weighted_loss(c.op(wide)));
    double size = 0.1;
    for (const Var& x : wide) size = std::max(size, largest(gradient(x)));
    for (size_t i = 0; i < wide.size(); ++i) {
      const double error = largest_difference(gradient(narrow[i]), gradient(wide[i])) / size;
      CAPTURE(i);
      CHECK(error <= 2e-5);
      worst.see(error, c.name);
    }
  }
  MESSAGE(worst.text());
}

TEST_CASE("a gradient does not depend on which other inputs want one") {
  for (const OpCase& c : op_cases()) {
    CAPTURE(c.name);
    const Vars all = leaves(c, Dtype::f64);
    backward(weighted_loss(c.op(all)));
    for (size_t i = 0; i < all.size(); ++i) {
      CAPTURE(i);
      Vars one = leaves(c, Dtype::f64);
      for (size_t j = 0; j < one.size(); ++j)
        if (j != i) one[j] = Var(one[j].value());
      backward(weighted_loss(c.op(one)));
      CHECK(gradient(one[i]) == gradient(all[i]));
      for (size_t j = 0; j < one.size(); ++j) CHECK((j == i || !one[j].grad().defined()));
    }
  }
}

TEST_CASE("layer_norm of one column is its bias, and nothing else has a gradient") {
  const Vars x = {leaf({3, -1}, {2, 1}), leaf({1.5}, {1}), leaf({0.25}, {1})};
  backward(weighted_loss(layer_norm(x[0], x[1], x[2], 0.1)));
  CHECK(largest(gradient(x[0])) <= 1e-15);
  CHECK(largest(gradient(x[1])) <= 1e-15);
  CHECK(gradient(x[2])[0] == doctest::Approx(std::sin(0.4) + std::sin(2.1)).epsilon(1e-14));
}

TEST_CASE("round_to_bf16 hands its gradient on as it is") {
  const Numbers values = {1, 1 + 0x1p-8, -1 - 0x1.8p-7, 3.14159, 0};  // 1, halfway (to even), halfway, and others
  const Var x = leaf(values, {5});
  const Var y = round_to_bf16(x);
  CHECK(y.value().values() == Numbers{1, 1, -1 - 0x1p-6, 3.140625, 0});
  backward(weighted_loss(y));
  Numbers weights;
  for (size_t i = 0; i < 5; ++i) weights.push_back(std::sin(1.7 * double(i) + 0.4));
  CHECK(gradient(x) == weights);
}

TEST_CASE("gradcheck sees a wrong gradient, a forgotten one and a function that is none") {
  const auto square = [](double factor) {
    return [factor](const Vars& x) {
      return make("square", multiply(x[0].value(), x[0].value()), {x[0]}, [factor](Node& node) {
        node.inputs[0].accumulate(scale(multiply(node.inputs[0].value(), node.grad), factor));
      });
    };
  };
  const Vars x = {leaf({0.3, -1.2, 2}, {3})};
  CHECK(gradcheck(square(2), x) <= 1e-9);
  CHECK(gradcheck(square(2.001), x) == doctest::Approx(5e-4).epsilon(0.01));
  CHECK(gradcheck(square(0), x) == doctest::Approx(1));
  CHECK(gradcheck([](const Vars& v) { return multiply(v[0], Var(v[0].value().clone())); }, x) == doctest::Approx(0.5));
  int calls = 0;
  const auto random = [&](const Vars& v) { return scale(v[0], ++calls); };
  CHECK(error_of([&] { gradcheck(random, x); }) == "gradcheck: two calls of the function differ");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("autograd: history");

TEST_CASE("gradients of branches add up, and no two gradients share memory") {
  const Var a = leaf({1, 2}, {2}), b = leaf({3, 5}, {2});
  const Var y = add(a, b);                                             // its backward hands one tensor to both
  const Var z = add(sum(y), sum(multiply(a, a)));                      // then a's gradient grows
  backward(add(z, sum(add(reshape(b, {2, 1}), reshape(b, {2, 1})))));  // and b's
  CHECK(a.grad().values() == Numbers{1 + 2 * 1, 1 + 2 * 2});
  CHECK(b.grad().values() == Numbers{3, 3});
  Var doubled = leaf({1}, {1});
  const Var x = doubled;
  for (int i = 0; i < 60; ++i) doubled = add(doubled, doubled);  // 2^60 paths, 61 nodes
  backward(doubled);
  CHECK(x.grad().item() == 0x1p60);
}

TEST_CASE("gradients add up over calls until they are cleared") {
  Var x = leaf({2, -3}, {2});
  backward(sum(multiply(x, x)));
  CHECK(x.grad().values() == Numbers{4, -6});
  backward(sum(scale(x, 10)));
  CHECK(x.grad().values() == Numbers{14, 4});
  x.clear_grad();
  CHECK(!x.grad().defined());
  backward(sum(x));
  CHECK(x.grad().values() == Numbers{1, 1});
  const Tensor fresh = Tensor::from(std::vector<double>{7}, {1}, Dtype::f64);
  x.set_value(fresh);
  CHECK(x.value().item() == 7);
}

TEST_CASE("only what wants a gradient gets one") {
  const Var x = leaf({1, 2}, {2}), data(Tensor::from(Numbers{3, 4}, {2}, Dtype::f64));
  const Var y = multiply(x, data), constant = multiply(data, data);
  CHECK(y.requires_grad());
  CHECK(!constant.requires_grad());
  CHECK(constant.node()->inputs.empty());
  backward(sum(add(y, constant)));
  CHECK(x.grad().values() == Numbers{3, 4});
  CHECK(!data.grad().defined());
  data.accumulate(Tensor::from(Numbers{1, 1}, {2}, Dtype::f64));
  CHECK(!data.grad().defined());
}

TEST_CASE("NoGrad records no history, also when nested, and ends with its scope") {
  const Var x = leaf({2}, {1});
  {
    NoGrad outer;
    { NoGrad inner; }
    const Var y = multiply(x, x);
    CHECK(y.value().item() == 4);
    CHECK(!y.requires_grad());
    CHECK(y.node()->inputs.empty());
    CHECK(!y.node()->backward);
  }
  backward(multiply(x, x));
  CHECK(x.grad().item() == 4);
}

TEST_CASE("backward releases the history: what only it held is gone") {
  const Var x = leaf({1, 2}, {2});
  std::weak_ptr<Node> inner;
  Var loss;
  {
    const Var y = unary(Unary::silu, x);
    inner = y.node();
    loss = sum(multiply(y, y));
  }
  CHECK(!inner.expired());
  backward(loss);
  CHECK(inner.expired());
  CHECK(loss.node()->inputs.empty());
  CHECK(!loss.node()->backward);
  CHECK(!loss.grad().defined());
  CHECK(x.grad().defined());
  CHECK(loss.value().count() == 1);
}

TEST_CASE("a chain of a million operations runs and is destroyed without recursion") {
  const std::clock_t start = std::clock();
  const int64_t length = 1'000'000;
  const Var x = leaf({1}, {1});
  const auto chain = [&] {
    Var y = x;
    for (int64_t i = 0; i < length; ++i) y = add(y, x);
    return y;
  };
  const Var loss = chain();
  CHECK(loss.value().item() == double(length + 1));
  backward(loss);
  CHECK(x.grad().item() == double(length + 1));
  {
    const Var first = chain(), second = add(scale(first, 2), first);  // three owners of what is long
    CHECK(second.value().item() == 3 * double(length + 1));
  }
  const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  MESSAGE("two chains in " << seconds << " s of processor time");
  CHECK(seconds < 30);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("autograd: errors");

TEST_CASE("backward needs one number with a history") {
  const Var x = leaf({1, 2}, {2});
  CHECK(error_of([&] { backward(scale(x, 2)); }) == "backward of shape (2): the loss must be one number");
  CHECK(error_of([&] { backward(Var()); }) == "value of an empty Var: it holds nothing");
  CHECK(error_of([&] { backward(Var(Tensor::full({1}, 1))); }) ==
        "backward: nothing in the loss's history wants a gradient");
  const Var shared = multiply(x, x), loss = sum(shared);
  backward(loss);
  const char* released = "backward through {}: an earlier backward has released its history";
  CHECK(error_of([&] { backward(loss); }) == fmt::format(fmt::runtime(released), "sum"));
  CHECK(error_of([&] { backward(sum(scale(shared, 2))); }) == fmt::format(fmt::runtime(released), "multiply"));
  CHECK(x.grad().values() == Numbers{2, 4});  // neither left half a gradient behind
}

TEST_CASE("a value or gradient that does not fit its Var is refused") {
  const Var x = leaf({1, 2}, {2});
  Var result = scale(x, 2);
  CHECK(error_of([&] { result.set_value(Tensor::full({2}, 1)); }) ==
        "set_value on the result of scale: only leaves can be set");
  CHECK(error_of([&] { x.accumulate(Tensor::full({3}, 1, Dtype::f64)); }) ==
        "gradient of shape (3) for a value of shape (2)");
}

namespace {

Var ones(Shape s) { return Var(Tensor::full(s, 1)); }
Tensor index(std::vector<int32_t> values, Shape s) { return Tensor::from(values, s); }

struct {
  std::string message;
  std::function<Var()> call;
} const wrong[] = {
    {"add of f32 (2, 3) and f32 (3, 2): must be alike",
     [] {
       return add(ones({2, 3}), ones({3, 2}));
     }},
    {"multiply of f32 (2) and f32 (3): must be alike", [] { return multiply(ones({2}), ones({3})); }},
    {"add of f32 (2) and f64 (2): must be alike",
     [] {
       return add(ones({2}), leaf({1, 2}, {2}));
     }},
    {"reshape (2, 3) to (4): the counts differ",
     [] {
       return reshape(ones({2, 3}), {4});
     }},
    {"matmul of (2, 3) and (4, 5) transposed: inner sizes differ",
     [] {
       return linear(ones({2, 3}), ones({4, 5}));
     }},
    {"add_bias: bias of shape (3), must be (4)",
     [] {
       return linear(ones({2, 3}), ones({4, 3}), ones({3}));
     }},
    {"swiglu of shape (2, 5): the last axis must be even",
     [] {
       return swiglu(ones({2, 5}));
     }},
    {"rms_norm: weight of shape (4), must be (5)",
     [] {
       return rms_norm(ones({2, 5}), ones({4}), 0.1);
     }},
    {"layer_norm: bias of shape (4), must be (5)",
     [] {
       return layer_norm(ones({2, 5}), ones({5}), ones({4}), 0.1);
     }},
    {"scale_rows: 5 factors for shape (2, 5)",
     [] {
       return scale_rows(ones({2, 5}), ones({5}));
     }},
    {"tensor of f32: read as i32",
     [] {
       return gather_rows(ones({2, 5}), Tensor::full({1}, 0));
     }},
    {"take_columns: index (1, 2) for (2, 5)",
     [] {
       return take_columns(ones({2, 5}), index({0, 1}, {1, 2}));
     }},
    {"rope of shape (1, 3, 5, 4): must be (B, T, 4, 4)",
     [] {
       return rope(ones({1, 3, 5, 4}), Heads{2, 1, 4}, 0, 10);
     }},
    {"attention of shape (1, 3, 4, 6): must be (B, T, 4, 4)",
     [] {
       return attention(ones({1, 3, 4, 6}), Heads{2, 1, 4});
     }},
    {"columns 2 to 6 of 5",
     [] {
       return columns(ones({2, 5}), 2, 6);
     }},
    {"columns 3 to 2 of 5",
     [] {
       return columns(ones({2, 5}), 3, 2);
     }},
    {"concat_columns of nothing", [] { return concat_columns({}); }},
    {"copy_columns: 4 columns from 0 of (3, 4) to 5 of (2, 9)",
     [] {
       return concat_columns({ones({2, 5}), ones({3, 4})});
     }},
    {"cross_entropy: 1 targets for logits (2, 5)",
     [] {
       return cross_entropy(ones({2, 5}), index({0}, {1}));
     }},
    {"grouped_linear: x of shape (3, 2) for a plan of 1 tokens and 1 slots",
     [] {
       return grouped_linear(ones({3, 2}), ones({1, 2, 2}), plans()[0], Rows::token);
     }},
    {"grouped_linear: x of shape (4, 2) for a plan of 4 tokens and 6 slots",
     [] {
       return grouped_linear(ones({4, 2}), ones({4, 2, 2}), plans()[1], Rows::slot);
     }},
    {"grouped_forward: offset of shape (2), must be (3)",
     [] {
       return grouped_linear(ones({1, 2}), ones({2, 2, 2}), plans()[0], Rows::token);
     }},
    {"grouped_forward: x of shape (1, 2) for weights (1, 2, 3)",
     [] {
       return grouped_linear(ones({1, 2}), ones({1, 2, 3}), plans()[0], Rows::token);
     }},
    {"combine: slots (2, 2) and gates (1) for 1 slots",
     [] {
       return combine(ones({2, 2}), plans()[0]);
     }},
};

}  // namespace

TEST_CASE("shapes that do not fit are named") {  // plans()[0]: 1 token and slot; plans()[1]: 4 tokens, 6 slots
  for (const auto& c : wrong) CHECK(error_of([&] { c.call(); }) == c.message);
}

TEST_SUITE_END();
