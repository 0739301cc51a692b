// The routing plan and what reads it by token: which proposals become slots, and a token's sum over its slots.
#include "tensor/cpu/rows.h"
#include "tensor/plain_plan.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

template <class T>
Wide<T> dot(int64_t n, const T* a, const T* b) {
  Vec<T> sums{};
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) sums += load(a + i) * load(b + i);
  Wide<T> sum = sum_lanes<T>(sums);
  for (; i < n; ++i) sum += Wide<T>(a[i]) * b[i];
  return sum;
}

}  // namespace

template <class T>
void plan(const PlanArrays<T>& p) {
  const std::shared_ptr<Storage> kept = allocate(size_t(p.A + 1), Device::cpu);
  plain_plan(p, static_cast<bool*>(kept->data));
}

template <class T>
void combine(int64_t tokens, int64_t cols, const int32_t* token_offset, const int32_t* token_slot, const Wide<T>* gate,
             const T* x, T* y) {
  parallel_blocks(tokens, rows_per_block(cols), [&](int64_t first, int64_t last) {
    //@begin combine
    for (int64_t t = first; t < last; ++t) {
      for (int64_t c = 0; c < cols; c += lanes<T>) {
        Vec<T> sum{};
        for (int64_t j = token_offset[t]; j < token_offset[t + 1]; ++j) {
          const Wide<T> weight = gate ? gate[token_slot[j]] : 1;
          sum += weight * load_up_to(x + token_slot[j] * cols + c, cols - c);
        }
        store_up_to(y + t * cols + c, sum, cols - c);
      }
    }
    //@end combine
  });
}

// Without gates d_gate is not written.
template <class T>
void combine_backward(int64_t N, int64_t E, int64_t cols, const int32_t* offset, const int32_t* slot_token,
                      const Wide<T>* gate, const T* x, const T* dy, T* dx, Wide<T>* d_gate) {
  for (int64_t i = offset[E] * cols; i < N * cols; ++i) dx[i] = T{};
  for (int64_t s = offset[E]; s < N && gate; ++s) d_gate[s] = 0;
  parallel_blocks(offset[E], rows_per_block(2 * cols), [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      const Wide<T> weight = gate ? gate[s] : 1;
      const T *from = dy + slot_token[s] * cols, *value = x + s * cols;
      map_row([weight](Vec<T> v) { return weight * v; }, cols, dx + s * cols, from);
      if (gate) d_gate[s] = dot(cols, from, value);
    }
  });
}

template <class T>
void proposing_tokens(int64_t n, int64_t k, int32_t* token) {
  for (int64_t i = 0; i < n; ++i) token[i] = int32_t(i / k);
}

template <class T>
void expert_share(int64_t A, int64_t E, const int32_t* expert, Wide<T>* y) {
  int64_t proposals = 0;
  for (int64_t e = 0; e < E; ++e) y[e] = 0;
  for (int64_t i = 0; i < A; ++i)
    if (expert[i] >= 0) y[expert[i]] += 1, ++proposals;
  for (int64_t e = 0; e < E; ++e) y[e] *= Wide<T>(double(E) / double(proposals > 0 ? proposals : 1));
}

template <class T>
void route_statistics(const RouteArrays<T>& r) {
  double entropy = 0, top = 0;
  for (int64_t t = 0; t < r.tokens; ++t) {
    Wide<T> most = 0;
    for (int64_t e = 0; e < r.E; ++e) {
      const Wide<T> p = r.probability[t * r.E + e];
      if (p > most) most = p;
      if (p > 0) entropy -= double(p) * __builtin_log(double(p));
    }
    top += most;
  }
  const double tokens = r.tokens > 0 ? double(r.tokens) : 1;
  r.mean[0] = entropy / tokens, r.mean[1] = top / tokens;
  for (int64_t i = 0; i < r.E * r.E; ++i) r.together[i] = 0;
  const std::shared_ptr<Storage> scratch = allocate(size_t(r.offset[r.E] + 1) * sizeof(int32_t), Device::cpu);
  int32_t* const expert = static_cast<int32_t*>(scratch->data);  // of each slot
  for (int64_t e = 0; e < r.E; ++e)
    for (int32_t s = r.offset[e]; s < r.offset[e + 1]; ++s) expert[s] = int32_t(e);
  for (int64_t t = 0; t < r.tokens; ++t)
    for (int32_t i = r.token_offset[t]; i < r.token_offset[t + 1]; ++i)
      for (int32_t j = r.token_offset[t]; j < r.token_offset[t + 1]; ++j)
        ++r.together[expert[r.token_slot[i]] * r.E + expert[r.token_slot[j]]];
}

#define INSTANTIATE(T)                                                                                         \
  template void plan(const PlanArrays<T>&);                                                                    \
  template void combine<T>(int64_t, int64_t, const int32_t*, const int32_t*, const Wide<T>*, const T*, T*);    \
  template void combine_backward<T>(int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const Wide<T>*, \
                                    const T*, const T*, T*, Wide<T>*);                                         \
  template void proposing_tokens<T>(int64_t, int64_t, int32_t*);                                               \
  template void expert_share<T>(int64_t, int64_t, const int32_t*, Wide<T>*);                                   \
  template void route_statistics(const RouteArrays<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
