// Attention of the last query of each sequence, as generation wants it. A single query makes poor use of a vector whose
// lanes are queries, so here they are numbers of one head: scores are dot products, and values are added up as they
// lie.
#pragma once
#include "tensor/cpu/gemm_micro.h"
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

// n scores for each of R queries from row r on: J keys at a time.
template <int R, class T>
void score_keys(int64_t n, int64_t D, const Operand<T>& q, int64_t r, const Operand<T>& keys, Wide<T>* scores) {
  constexpr int J = line_sums / R;
  int64_t j = 0;
  for (; j + J <= n; j += J) multiply_lines<T, R, J>(D, q, r, keys, j, false, scores, n);
  for (; j < n; ++j) multiply_lines<T, R, 1>(D, q, r, keys, j, false, scores, n);
}

// y (D) = sum over n keys of p[j] v[j], in order; V vectors of y at a time.
template <int V, class T>
void add_values(int64_t n, int64_t D, const Wide<T>* p, const T* v, int64_t row, T* y) {
  constexpr int L = lanes<T>;
  for (int64_t d = 0; d < D; d += V * L) {
    const auto part = [&](int i) { return D - d - i * L; };  // what is left of the row
    Vec<T> sum[V] = {};
    for (int64_t j = 0; j < n; ++j)
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i)
        if (part(i) > 0) sum[i] += p[j] * load_up_to(v + j * row + d + i * L, part(i));
    for (int i = 0; i < V; ++i)
      if (part(i) > 0) store_up_to(y + d + i * L, sum[i], part(i));
  }
}

// The queries that read one key/value head: `group` of them, D apart. All pointers are to the first.
template <class T>
void attend_last(const AttentionShape& s, int64_t group, const T* q, const T* k, const T* v, T* y, Wide<T>* logsumexp,
                 Wide<T>* scores) {
  const int64_t begin = s.window < s.Tk ? s.Tk - s.window : 0, n = s.Tk - begin, D = s.D;
  const Operand<T> queries{q, D, true}, keys{k + begin * s.key_row, s.key_row, true};
  int64_t r = 0;
  for (; r + 4 <= group; r += 4) score_keys<4>(n, D, queries, r, keys, scores);
  for (; r < group; ++r) score_keys<1>(n, D, queries, r, keys, scores);
  for (r = 0; r < group; ++r) {
    Wide<T>* const p = scores + r * n;
    map_row([factor = Wide<T>(s.scale)](Vec<T> x) { return factor * x; }, n, p, p);
    const Wide<T> shift = finite_maximum(n, p), sum = sum_exp(n, p, shift);
    map_row([=](Vec<T> x) { return exp<Wide<T>>(x - shift) / sum; }, n, p, p);
    logsumexp[r] = shift + log_of(sum);
    D <= 2 * lanes<T> ? add_values<2>(n, D, p, v + begin * s.key_row, s.key_row, y + r * D)
                      : add_values<4>(n, D, p, v + begin * s.key_row, s.key_row, y + r * D);
  }
}

}  // namespace
}  // namespace switchyard::cpu::SWITCHYARD_ISA
