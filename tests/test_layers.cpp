// The layers of nn/: against plain loops over their formulas, the properties that they promise, and the gradient of
// every parameter. The mixture of experts and whole models are in test_model_gradients.cpp.
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "tests/gradients.h"
#include "tests/scratch.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

Init init(uint64_t seed = 1) { return Init(seed, Dtype::f64); }

// x W^T of rows of `in`.
Numbers product(const Numbers& x, const Numbers& w, size_t in) {
  Numbers y;
  for (size_t row = 0; row < x.size() / in; ++row)
    for (size_t o = 0; o < w.size() / in; ++o) y.push_back(dot(&x[row * in], &w[o * in], in));
  return y;
}

// One attention layer, its parameters far from their initial size.
struct Layer {
  Heads heads;
  int64_t C;
  Attention attention;
  Layer(Heads h, int64_t width, uint64_t seed = 1) : heads(h), C(width) {
    Init i = init(seed);
    attention = Attention(C, heads, 700, 0.6, 0.6, i);
  }
};

KeyValueCache cache_for(Heads h, int64_t B, int64_t capacity) {
  const Shape shape{B, capacity, h.K, h.D};
  return {Tensor::full(shape, NAN, Dtype::f64),
          Tensor::full(shape, NAN, Dtype::f64)};  // what is not stored is not read
}

}  // namespace

TEST_SUITE_BEGIN("layers");

TEST_CASE("linear, embedding and norm: values and gradients") {
  Worst worst;
  Init i = init();
  Linear plain(4, 3, 1, i), biased(4, 3, 1, i, true);
  scramble(parameters(biased), 0.5, 2);
  const Var x = normal_leaf({5, 4}, 1);
  CHECK(parameters(plain).size() == 1);
  CHECK(close(plain(x).value().values(), product(x.value().values(), plain.weight.value().values(), 4), 1e-14));
  Numbers want = product(x.value().values(), biased.weight.value().values(), 4);
  for (size_t k = 0; k < want.size(); ++k) want[k] += biased.bias.value().values()[k % 3];
  CHECK(close(biased(x).value().values(), want, 1e-14));
  check_gradients(
      "Linear", [&] { return plain(x); }, with_input(parameters(plain), x), worst);
  check_gradients(
      "Linear with bias", [&] { return biased(x); }, with_input(parameters(biased), x), worst);

  Embedding embedding(6, 3, 1, i);
  const Tensor ids = Tensor::from(std::vector<int32_t>{5, 0, 5, 2}, {2, 2});
  const Var rows = embedding(ids);
  REQUIRE(rows.shape() == Shape{4, 3});
  for (size_t k = 0; k < 12; ++k) {
    const size_t id = size_t(ids.data<int32_t>()[k / 3]);
    CHECK(rows.value().values()[k] == embedding.weight.value().values()[id * 3 + k % 3]);
  }
  check_gradients(
      "Embedding", [&] { return embedding(ids); }, parameters(embedding), worst);

  for (bool layer : {false, true}) {
    Norm norm(4, 0.02, layer, i);
    CHECK(parameters(norm).size() == (layer ? 2 : 1));
    scramble(parameters(norm), 0.5, 3);
    check_gradients(
        layer ? "LayerNorm" : "RMSNorm", [&] { return norm(x); }, with_input(parameters(norm), x), worst);
  }
  MESSAGE(worst.text());
}

TEST_CASE("a norm starts with mean square 1, and a layer norm with mean 0") {
  Init i = init();
  const Var x = add(normal_leaf({3, 200}, 1, 5), Var(Tensor::full({3, 200}, 20, Dtype::f64)));
  for (bool layer : {false, true}) {
    const Numbers y = Norm(200, 1e-9, layer, i)(x).value().values();
    for (size_t r = 0; r < 3; ++r) {
      CHECK(dot(&y[r * 200], &y[r * 200], 200) / 200 == doctest::Approx(1).epsilon(1e-9));
      if (layer) CHECK(std::abs(average(&y[r * 200], 200)) < 1e-12);
    }
  }
}

TEST_CASE("embedding: an id outside the vocabulary is an error") {
  Init i = init();
  const Embedding embedding(6, 3, 1, i);
  for (int32_t id : {-1, 6, 1 << 30})
    CHECK(error_of([&] {
            embedding(Tensor::from(std::vector<int32_t>{0, id}, {2}));
          }) == fmt::format("token {}: must be 0 to 5, the vocabulary", id));
  CHECK(embedding(Tensor::from(std::vector<int32_t>{}, {0})).shape() == Shape{0, 3});
}

TEST_CASE("mlp: each activation's formula and gradients") {
  Worst worst;
  for (Activation activation : {Activation::swiglu, Activation::gelu, Activation::relu}) {
    Init i = init();
    Mlp mlp(4, 3, activation, 1, 1, i);
    const Var x = normal_leaf({5, 4}, 2);
    const size_t wide = activation == Activation::swiglu ? 6 : 3;
    REQUIRE(mlp.in.weight.shape() == Shape{int64_t(wide), 4});
    const Numbers hidden = product(x.value().values(), mlp.in.weight.value().values(), 4);
    Numbers active;
    for (size_t k = 0; k < 15; ++k) {
      const double* h = &hidden[k / 3 * wide + k % 3];
      REQUIRE(std::abs(*h) > 0.01);  // far from relu's kink
      active.push_back(activation == Activation::swiglu ? silu(h[0]) * h[3]
                       : activation == Activation::gelu ? gelu(*h)
                                                        : std::max(*h, 0.0));
    }
    CHECK(close(mlp(x).value().values(), product(active, mlp.out.weight.value().values(), 3), 1e-13));
    check_gradients(
        "Mlp " + std::string(activation == Activation::swiglu ? "swiglu"
                             : activation == Activation::gelu ? "gelu"
                                                              : "relu"),
        [&] { return mlp(x); }, with_input(parameters(mlp), x), worst);
  }
  MESSAGE(worst.text());
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("layers: attention");

TEST_CASE("project, turn, attend, project: the formula and the gradients") {
  Worst worst;
  const int64_t B = 2, T = 5;
  for (Heads heads : {Heads{1, 1, 2}, Heads{2, 2, 4}, Heads{4, 2, 2}, Heads{3, 1, 6}}) {
    Layer layer(heads, 7);
    const Var x = normal_leaf({B * T, layer.C}, 3);
    const Projection p{B, T, heads, 0};
    const Numbers qkv = product(x.value().values(), layer.attention.qkv.weight.value().values(), size_t(layer.C));
    Numbers turned, attended;
    for (size_t k = 0; k < qkv.size(); ++k) turned.push_back(p.turned(qkv, int64_t(k), 700));
    for (int64_t k = 0; k < B * T * heads.H * heads.D; ++k) attended.push_back(p.attended(turned, k));
    const Var y = layer.attention(x, B, nullptr);
    REQUIRE(y.shape() == Shape{B * T, layer.C});
    CHECK(close(y.value().values(),
                product(attended, layer.attention.out.weight.value().values(), size_t(heads.H * heads.D)), 1e-12));
    check_gradients(
        fmt::format("Attention of {} heads over {} of width {}", heads.H, heads.K, heads.D),
        [&] { return layer.attention(x, B, nullptr); }, with_input(parameters(layer.attention), x), worst);
  }
  MESSAGE(worst.text());
}

TEST_CASE("with a cache, in pieces of any size, as without one") {
  const int64_t B = 2, T = 7;
  Layer layer({4, 2, 6}, 5);
  const Var x = normal_leaf({B * T, layer.C}, 4);
  const Numbers all = layer.attention(x, B, nullptr).value().values();
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{7}, {1, 1, 1, 1, 1, 1, 1}, {3, 1, 3}, {6, 1}}) {
    KeyValueCache cache = cache_for(layer.heads, B, T + 2);
    int64_t first = 0;
    for (int64_t piece : pieces) {
      Numbers part, want;
      for (int64_t b = 0; b < B; ++b)
        for (int64_t k = 0; k < piece * layer.C; ++k) {
          const size_t at = size_t((b * T + first) * layer.C + k);
          part.push_back(x.value().values()[at]), want.push_back(all[at]);
        }
      const Var y = layer.attention(leaf(part, {B * piece, layer.C}), B, &cache);
      CHECK(close(y.value().values(), want, 1e-13));
      first += piece;
      CHECK(cache.length == first);
    }
    CHECK(error_of([&] { layer.attention(normal_leaf({B * 3, layer.C}, 5), B, &cache); }) != "no error");
  }
}

TEST_CASE("changing a token changes no bit before it and everything after it, in its sequence alone") {
  const int64_t B = 2, T = 40;
  Layer layer({2, 1, 4}, 6);
  const Var x = normal_leaf({B * T, layer.C}, 6);
  const Numbers before = layer.attention(x, B, nullptr).value().values();
  for (int64_t changed : {0, 1, 17, 32, 39}) {
    const Var other(x.value().clone());
    other.value().data<double>()[changed * layer.C] += 0.5;
    const Numbers after = layer.attention(other, B, nullptr).value().values();
    for (int64_t token = 0; token < B * T; ++token) {
      const auto at = [&](const Numbers& y) { return Numbers(&y[size_t(token * 6)], &y[size_t(token * 6)] + 6); };
      CAPTURE(changed);
      CAPTURE(token);
      CHECK((at(before) == at(after)) == (token < changed || token >= T));
    }
  }
}

TEST_CASE("a query sees how far a key is, not where both are") {
  const int64_t B = 2, T = 6;
  const Heads heads{2, 1, 8};
  const Var x = normal_leaf({B, T, 4, 8}, 7);
  const Numbers here = attention(rope(x, heads, 0, 10000), heads).value().values();
  for (int64_t first : {1, 50, 4000})
    CHECK(close(attention(rope(x, heads, first, 10000), heads).value().values(), here, 1e-11));
  // The same vector everywhere: without positions every score is equal; with them it falls from the diagonal.
  CHECK(!close(attention(x, heads).value().values(), here, 1e-3));
}

TEST_CASE("grouped queries equal full heads whose keys and values repeat") {
  const int64_t B = 2, T = 5, C = 7, D = 4, H = 4;
  const Var x = normal_leaf({B * T, C}, 8);
  for (int64_t K : {1, 2, 4}) {
    Layer grouped({H, K, D}, C), full({H, H, D}, C);
    full.attention.out = grouped.attention.out;
    // Rows of a fused projection, D a head: H queries, then the keys, then the values.
    const Tensor from = grouped.attention.qkv.weight.value(), to = full.attention.qkv.weight.value();
    for (int64_t head = 0; head < 3 * H; ++head) {
      const int64_t h = head % H, source = head < H ? h : H + (head / H - 1) * K + h / (H / K);
      std::copy_n(from.data<double>() + source * D * C, D * C, to.data<double>() + head * D * C);
    }
    CHECK(close(grouped.attention(x, B, nullptr).value().values(), full.attention(x, B, nullptr).value().values(),
                1e-13));
  }
}

TEST_SUITE_END();
