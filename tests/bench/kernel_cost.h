// What a call of a kernel needs at least, from its arguments: operations, and bytes that are read and written once.
// A multiply, an add, a comparison and an exponential count as one operation each; a product's are 2 M N K, and
// attention's are those of its products, for the pairs of a query and a key that it sees. What is not a product is
// bound by its bytes, so its operations need not be exact.
#pragma once
#include <algorithm>
#include <compare>

#include "tensor/kernels.h"

namespace switchyard::bench {

// The sizes of a product: C (M, N) of K-long sums, for E experts together; M 0: no product.
struct Product {
  bool transpose_a = false, transpose_b = false;
  int64_t E = 1, M = 0, N = 0, K = 0;
  auto operator<=>(const Product&) const = default;
};

struct Cost {
  double flops = 0, read = 0, written = 0;
  Product product = {};
  double bytes() const { return read + written; }
};

// Pairs of a query and a key that it sees, of one head.
inline double visible_pairs(const AttentionShape& s) {
  double pairs = 0;
  for (int64_t i = 0; i < s.Tq; ++i) pairs += double(std::min(s.window, s.Tk - s.Tq + i + 1));
  return pairs;
}

// A member for each kernel, with its name and its arguments: Costs<T>::gemm(…).
template <class T>
struct Costs {
  using W = Wide<T>;
  using I = const int32_t*;
  static constexpr double t = sizeof(T), w = sizeof(W), index = sizeof(int32_t);

  static double used_experts(int64_t E, I offset) {
    double used = 0;
    for (int64_t e = 0; e < E; ++e) used += offset[e] < offset[e + 1];
    return used;
  }
  static double area(int64_t rows, int64_t cols) { return double(rows) * double(cols); }
  static double unary_flops(Unary op) {
    constexpr double flops[] = {1, 5, 5, 4, 1, 1, 3, 4};  // in the order of Unary
    return flops[static_cast<size_t>(op)];
  }
  // n elements of `inputs` arrays into n of `outputs` arrays.
  static Cost each(double n, double flops, double inputs, double outputs) {
    return {n * flops, n * inputs * t, n * outputs * t};
  }

  static Cost fill(int64_t n, T, T*) { return each(double(n), 0, 0, 1); }
  static Cost add(int64_t n, const T*, const T*, T*) { return each(double(n), 1, 2, 1); }
  static Cost multiply(int64_t n, const T*, const T*, T*) { return each(double(n), 1, 2, 1); }
  static Cost scale(int64_t n, T, const T*, T*) { return each(double(n), 1, 1, 1); }
  static Cost add_bias(int64_t rows, int64_t cols, const T*, const W*, T*) { return each(area(rows, cols), 1, 1, 1); }
  static Cost unary(Unary op, int64_t n, const T*, T*) { return each(double(n), unary_flops(op), 1, 1); }
  static Cost unary_backward(Unary op, int64_t n, const T*, const T*, T*) {
    return each(double(n), 1 + unary_flops(op), 2, 1);
  }
  static Cost swiglu(int64_t rows, int64_t F, const T*, T*) { return each(area(rows, F), 6, 2, 1); }
  static Cost swiglu_backward(int64_t rows, int64_t F, const T*, const T*, T*) { return each(area(rows, F), 12, 3, 2); }
  static Cost dropout(int64_t n, double, RandomKey, const T*, T*) { return each(double(n), 2, 1, 1); }
  static Cost jitter(int64_t n, double, RandomKey, const T*, T*) { return each(double(n), 4, 1, 1); }
  static Cost widen(int64_t n, const T*, W*) { return {0, double(n) * t, double(n) * w}; }
  static Cost narrow(int64_t n, const W*, T*) { return {0, double(n) * w, double(n) * t}; }
  static Cost repeat_row(int64_t rows, int64_t cols, const T*, T*) {
    return {0, double(cols) * t, area(rows, cols) * t};
  }

  static Cost sum(int64_t n, const T*, W*) { return {double(n), double(n) * t, w}; }
  static Cost sum_squares(int64_t n, const T*, double*) { return {2 * double(n), double(n) * t, 8}; }
  static Cost column_sum(int64_t rows, int64_t cols, const T*, W*) {
    return {area(rows, cols), area(rows, cols) * t, double(cols) * w};
  }
  static Cost row_dot(int64_t rows, int64_t cols, const T*, const T*, W*) {
    return {2 * area(rows, cols), 2 * area(rows, cols) * t, double(rows) * w};
  }
  static Cost scale_rows(int64_t rows, int64_t cols, const T*, const W*, T*) { return each(area(rows, cols), 1, 1, 1); }
  static Cost softmax(int64_t rows, int64_t cols, const T*, T*) { return each(area(rows, cols), 5, 1, 1); }
  static Cost softmax_backward(int64_t rows, int64_t cols, const T*, const T*, T*) {
    return each(area(rows, cols), 4, 2, 1);
  }
  static Cost logsumexp(int64_t rows, int64_t cols, const T*, W*) {
    return {4 * area(rows, cols), area(rows, cols) * t, double(rows) * w};
  }
  static Cost top_k(int64_t rows, int64_t cols, int64_t k, const T*, int32_t*) {
    return {area(rows, cols) * double(k), area(rows, cols) * t, area(rows, k) * index};
  }
  static Cost softmax_top_k(int64_t rows, int64_t cols, int64_t k, const T*, T*, int32_t*) {
    return {area(rows, cols) * double(5 + k), area(rows, cols) * t, area(rows, cols) * t + area(rows, k) * index};
  }

  static Cost gemm(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T*, const T*, bool accumulate, T*) {
    return {2 * area(M, N) * double(K),
            (area(M, K) + area(K, N) + (accumulate ? area(M, N) : 0)) * t,
            area(M, N) * t,
            {ta, tb, 1, M, N, K}};
  }
  static Cost gemm_wide(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T*, const T*, bool accumulate, W*) {
    const double c = area(M, N) * w;
    return {2 * area(M, N) * double(K), (area(M, K) + area(K, N)) * t + (accumulate ? c : 0), c, {ta, tb, 1, M, N, K}};
  }
  // Weights of experts without a slot are not read.
  static Cost grouped_forward(int64_t N, int64_t E, int64_t out, int64_t in, I offset, I, const T*, const T*, T*) {
    const double slots = offset[E];
    return {2 * slots * area(out, in),
            (slots * double(in) + used_experts(E, offset) * area(out, in)) * t,
            area(N, out) * t,
            {false, true, E, N, out, in}};
  }
  static Cost grouped_backward_input(int64_t N, int64_t E, int64_t out, int64_t in, I offset, const T*, const T*, T*) {
    const double slots = offset[E];
    return {2 * slots * area(out, in),
            (slots * double(out) + used_experts(E, offset) * area(out, in)) * t,
            area(N, in) * t,
            {false, false, E, N, in, out}};
  }
  static Cost grouped_backward_weight(int64_t N, int64_t E, int64_t out, int64_t in, I offset, I, const T*, const T*,
                                      W*) {
    const double slots = offset[E];
    return {2 * slots * area(out, in),
            slots * double(out + in) * t,
            double(E) * area(out, in) * w,
            {true, false, E, out, in, N}};
  }

  static Cost proposing_tokens(int64_t n, int64_t, int32_t*) { return {0, 0, double(n) * index}; }
  static Cost expert_share(int64_t A, int64_t E, I, W*) { return {double(A), double(A) * index, double(E) * w}; }
  static Cost plan(const PlanArrays<T>& p) {
    const double A = double(p.A), read = A * (2 * index + (p.priority ? w : 0));
    return {A, read, (3 * A + double(3 * p.E + p.tokens + 2)) * index};
  }
  static Cost combine(int64_t tokens, int64_t cols, I token_offset, I, const W* gate, const T*, T*) {
    const double slots = token_offset[tokens];
    return {2 * slots * double(cols), slots * (double(cols) * t + index + (gate ? w : 0)) + double(tokens) * index,
            area(tokens, cols) * t};
  }
  static Cost combine_backward(int64_t N, int64_t E, int64_t cols, I offset, I, const W*, const T*, const T*, T*, W*) {
    const double slots = offset[E];
    return {3 * slots * double(cols), slots * (2 * double(cols) * t + index + w), area(N, cols) * t + double(N) * w};
  }
  static Cost route_statistics(const RouteArrays<T>& r) {
    const double n = area(r.tokens, r.E);
    return {4 * n, n * w, area(r.E, r.E) * index};
  }
  static Cost gather_rows(int64_t n, int64_t cols, I, const T*, T*) {
    return {0, area(n, cols) * t + double(n) * index, area(n, cols) * t};
  }
  static Cost gather_rows_backward(int64_t n, int64_t rows, int64_t cols, I, const T*, T*) {
    return {area(n, cols), area(n, cols) * t + double(n) * index, area(rows, cols) * t};
  }
  static Cost take_columns(int64_t rows, int64_t, int64_t k, I, const T*, T*) {
    return {0, area(rows, k) * (t + index), area(rows, k) * t};
  }
  static Cost take_columns_backward(int64_t rows, int64_t cols, int64_t k, I, const T*, T*) {
    return {0, area(rows, k) * (t + index), area(rows, cols) * t};
  }

  static Cost rms_norm(int64_t rows, int64_t cols, double, const T*, const W*, T*, W*) {
    return each(area(rows, cols), 4, 1, 1);
  }
  static Cost rms_norm_backward(int64_t rows, int64_t cols, const T*, const W*, const W*, const T*, T*, W*) {
    return each(area(rows, cols), 9, 2, 1);
  }
  static Cost layer_norm(int64_t rows, int64_t cols, double, const T*, const W*, const W*, T*, W*, W*) {
    return each(area(rows, cols), 7, 1, 1);
  }
  static Cost layer_norm_backward(int64_t rows, int64_t cols, const T*, const W*, const W*, const W*, const T*, T*, W*,
                                  W*) {
    return each(area(rows, cols), 12, 2, 1);
  }

  static Cost rope(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t, int64_t, double, int, const T*, T*) {
    return each(area(B * T_, heads * D), 3, 1, 1);
  }
  // Bytes of the queries, and of the keys that some query sees.
  static double queries(const AttentionShape& s) { return area(s.B * s.Tq, s.H * s.D) * t; }
  static double keys(const AttentionShape& s) {
    const int64_t seen = s.window < s.Tk - s.Tq ? s.Tq + s.window - 1 : s.Tk;
    return area(s.B * seen, s.K * s.D) * t;
  }
  static double pair_width(const AttentionShape& s) { return visible_pairs(s) * area(s.B * s.H, s.D); }
  static Cost attention(const AttentionShape& s, const T*, const T*, const T*, T*, W*) {
    return {4 * pair_width(s), queries(s) + 2 * keys(s), queries(s) + area(s.B, s.H * s.Tq) * w};
  }
  // Five products: the scores again, and the gradients of them, of q, of k and of v.
  static Cost attention_backward(const AttentionShape& s, const T*, const T*, const T*, const T*, const W*, const T*,
                                 T*, T*, T*) {
    return {10 * pair_width(s), 3 * queries(s) + 2 * keys(s) + area(s.B, s.H * s.Tq) * w, queries(s) + 2 * keys(s)};
  }
  static Cost copy_rows(int64_t B, int64_t T_, int64_t width, const T*, int64_t, int64_t, T*, int64_t, int64_t) {
    return each(area(B * T_, width), 0, 1, 1);
  }
  static Cost cross_entropy(int64_t rows, int64_t V, const T*, I, W*, W*) {
    return {4 * area(rows, V), area(rows, V) * t + double(rows) * index, 2 * double(rows) * w};
  }
  static Cost cross_entropy_backward(int64_t rows, int64_t V, const T*, I, const W*, const W*, T*) {
    return each(area(rows, V), 3, 1, 1);
  }
  static Cost gradient_scale(int64_t n, const double*, double, double, double*) {
    return {double(n), 8 * double(n), 16};
  }
  static Cost adamw(int64_t n, const AdamWStep&, const W*, W*, W*, W*) {
    return {15 * double(n), 4 * double(n) * w, 3 * double(n) * w};
  }
};

}  // namespace switchyard::bench
