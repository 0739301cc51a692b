#include "tests/bench/product_contest.h"

#include <chrono>
#include <memory>
#include <thread>

#include "tests/bench/gemm_ladder.h"
#ifdef SWITCHYARD_OPENBLAS
#include <cblas-openblas.h>
#endif

namespace switchyard::bench {
namespace {

constexpr double naive_flops = 0.3e9;

std::vector<float> random_floats(int64_t n, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = uniform({seed, 1}, i) - 0.5f;
  return x;
}

// A product and its operands. A grouped one is a product for each expert: over its slots, which are rows of A and C, or
// in a weight's gradient what the sum runs over.
template <class T>
class Operands {
 public:
  explicit Operands(const Row& row) : kernel_(row.kernel), p_(row.product), by_k_(kernel_.ends_with("weight")) {
    const int64_t matrices = by_k_ ? 1 : p_.E;
    a_ = random_floats(p_.M * p_.K, 1), b_ = random_floats(matrices * p_.K * p_.N, 2);
    c_.resize(static_cast<size_t>((by_k_ ? p_.E : 1) * p_.M * p_.N));
    for (float x : a_) ta_.push_back(T(x));
    for (float x : b_) tb_.push_back(T(x));
    tc_.resize(c_.size()), wide_.resize(kernel_ == "gemm_wide" || by_k_ ? c_.size() : 0);
    const int64_t slots = by_k_ ? p_.K : p_.M;
    for (int64_t e = 0; e <= p_.E; ++e) offset_.push_back(static_cast<int32_t>(e * slots / p_.E));
  }
  double flops() const { return 2.0 * double(p_.M) * double(p_.N) * double(p_.K); }

  void ours() {
    const Kernels<T>& k = kernels<T>(Device::cpu);
    const auto& [ta, tb, E, M, N, K] = p_;
    const int32_t* offset = offset_.data();
    if (kernel_ == "gemm") k.gemm(ta, tb, M, N, K, ta_.data(), tb_.data(), false, tc_.data());
    if (kernel_ == "gemm_wide") k.gemm_wide(ta, tb, M, N, K, ta_.data(), tb_.data(), false, wide_.data());
    if (kernel_ == "grouped_forward")
      k.grouped_forward(M, E, N, K, offset, nullptr, ta_.data(), tb_.data(), tc_.data());
    if (kernel_ == "grouped_backward_input")
      k.grouped_backward_input(M, E, K, N, offset, ta_.data(), tb_.data(), tc_.data());
    if (kernel_ == "grouped_backward_weight")
      k.grouped_backward_weight(K, E, M, N, offset, nullptr, ta_.data(), tb_.data(), wide_.data());
  }
  // f(M, N, K, a, b, c) for each expert's product.
  template <class F>
  void each(F f) {
    const auto& [ta, tb, E, M, N, K] = p_;
    for (int64_t e = 0; e < E; ++e) {
      const int64_t first = offset_[size_t(e)], slots = offset_[size_t(e) + 1] - first;
      if (slots == 0) continue;
      if (by_k_)
        f(M, N, slots, a_.data() + first * M, b_.data() + first * N, c_.data() + e * M * N);
      else
        f(slots, N, K, a_.data() + first * K, b_.data() + e * K * N, c_.data() + first * N);
    }
  }
  void naive() { each(cpu::SWITCHYARD_ISA::ladder::naive<float>); }
#ifdef SWITCHYARD_OPENBLAS
  void openblas() {
    const bool ta = p_.transpose_a, tb = p_.transpose_b;
    each([=](int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
      cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, int(M), int(N), int(K),
                  1, a, int(ta ? M : K), b, int(tb ? K : N), 0, c, int(N));
    });
  }
#endif

 private:
  std::string_view kernel_;
  Product p_;
  bool by_k_;
  std::vector<float> a_, b_, c_;
  std::vector<T> ta_, tb_, tc_;  // ours: the same in T
  std::vector<Wide<T>> wide_;
  std::vector<int32_t> offset_;
};

// One contest under way.
struct Entry {
  double flops = 0, naive = 0;  // naive: flop/s
  std::function<void()> ours, openblas;
  std::vector<double> rate = {}, their_rate = {}, peak = {};
};

template <class T>
Entry enter(const Row& row) {
  const auto operands = std::make_shared<Operands<T>>(row);
  Entry entry{.flops = operands->flops(), .ours = [=] { operands->ours(); }};
#ifdef SWITCHYARD_OPENBLAS
  entry.openblas = [=] { operands->openblas(); };
#endif
  if (entry.flops <= naive_flops) {
    const auto start = std::chrono::steady_clock::now();
    operands->naive();
    entry.naive = entry.flops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return entry;
}

void sample(Entry& entry, int threads) {
  entry.peak.push_back(yardstick(threads));
  entry.rate.push_back(entry.flops * calls_per_second(entry.ours));
  if (!entry.openblas) return;
  entry.their_rate.push_back(entry.flops * calls_per_second(entry.openblas));
  // Its idle threads spin for a while and would take a core from whatever comes next.
  if (threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(15));
}

}  // namespace

std::string openblas_name() {
#ifdef SWITCHYARD_OPENBLAS
  return openblas_get_corename();
#else
  return "";
#endif
}

std::vector<Contest> run_contests(const std::vector<Row>& products, int threads, int rounds,
                                  const std::function<void(int round)>& progress) {
#ifdef SWITCHYARD_OPENBLAS
  openblas_set_num_threads(threads);
#endif
  std::vector<Entry> entries;
  progress(0);
  for (const Row& row : products) entries.push_back(row.element == 2 ? enter<bf16>(row) : enter<float>(row));
  for (int round = 0; round < rounds; ++round) {
    progress(round + 1);
    for (Entry& entry : entries) sample(entry, threads);
  }
  std::vector<Contest> results;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& e = entries[i];
    Contest contest{products[i].name(), e.flops, median(e.rate), median_ratio(e.rate, e.peak)};
    if (e.naive > 0) contest.over_naive = median(e.rate) / e.naive;
    if (e.openblas) contest.over_openblas = median_ratio(e.rate, e.their_rate);
    results.push_back(contest);
  }
  return results;
}

}  // namespace switchyard::bench
