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
  if constexpr (J > 4)
    for (; j + 4 <= n; j += 4) multiply_lines<T, R, 4>(D, q, r, keys, j, false, scores, n);
  for (; j < n; ++j) multiply_lines<T, R, 1>(D, q, r, keys, j, false, scores, n);
}

// V vectors of y = sum over n keys of p[j] v[j], in strands that do not wait for each other.
template <int V, class T>
void add_values(int64_t n, const Wide<T>* p, const T* v, int64_t row, T* y) {
  constexpr int L = lanes<T>;
  //@begin values
  constexpr int strands = 8 / V;
  Vec<T> sum[strands][V] = {};
  int64_t j = 0;
  for (; j + strands <= n; j += strands)
#pragma GCC unroll 8
    for (int s = 0; s < strands; ++s, v += row)
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i) sum[s][i] += p[j + s] * load(v + i * L);
  //@end values
  for (; j < n; ++j, v += row)
    for (int i = 0; i < V; ++i) sum[0][i] += p[j] * load(v + i * L);
  for (int i = 0; i < V; ++i) {
    for (int s = 1; s < strands; ++s) sum[0][i] += sum[s][i];
    store(y + i * L, sum[0][i]);
  }
}

// All D numbers of y.
template <class T>
void add_rows(int64_t n, int64_t D, const Wide<T>* p, const T* v, int64_t row, T* y) {
  constexpr int L = lanes<T>;
  int64_t d = 0;
  for (; d + 4 * L <= D; d += 4 * L) add_values<4>(n, p, v + d, row, y + d);
  for (; d + 2 * L <= D; d += 2 * L) add_values<2>(n, p, v + d, row, y + d);
  for (; d + L <= D; d += L) add_values<1>(n, p, v + d, row, y + d);
  if (d == D) return;
  Vec<T> sum{};
  for (int64_t j = 0; j < n; ++j) sum += p[j] * load_part(v + j * row + d, D - d);
  store_part(y + d, sum, D - d);
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
    map_row([shift, factor = 1 / sum](Vec<T> x) { return factor * exp<Wide<T>>(x - shift); }, n, p, p);
    logsumexp[r] = shift + log_of(sum);
    add_rows(n, D, p, v + begin * s.key_row, s.key_row, y + r * D);
  }
}

}  // namespace
}  // namespace switchyard::cpu::SWITCHYARD_ISA
