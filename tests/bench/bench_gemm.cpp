// How fast gemm and the grouped products are: as a share of what the processor's multiply-add units can do, measured
// next to every sample, and against OpenBLAS where it was found when this was built.
//   bench_gemm --threads 2 --section moe
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tensor/cpu/parallel.h"
#include "tensor/error.h"
#include "tensor/kernels.h"
#include "tests/bench/gemm_ladder.h"
#ifdef SWITCHYARD_OPENBLAS
#include <cblas-openblas.h>
#endif

namespace switchyard {
namespace {

using Floats = std::vector<float>;
namespace ladder = cpu::SWITCHYARD_ISA::ladder;

struct Options {
  int threads = 1, rounds = 5;
  std::string section = "all";
  bool json = false, best = false;
};

// One line of the report: the same work by us and by them.
struct Contest {
  std::string name;
  double flops;
  std::function<void()> ours, theirs;
};

Floats random_floats(int64_t n, uint64_t seed) {
  Floats x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = uniform({seed, 1}, i) - 0.5f;
  return x;
}

// Seconds: of this thread's own time if it works alone, so that a neighbour on the same core does not count.
double now(int threads) {
  timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Calls a second, over at least 3 ms after one call to warm up.
double rate(int threads, const std::function<void()>& f) {
  f();
  for (int64_t n = 1;; n *= 2) {
    const double start = now(threads);
    for (int64_t i = 0; i < n; ++i) f();
    const double seconds = now(threads) - start;
    if (seconds > 3e-3) return double(n) / seconds;
  }
}

// flop/s of all threads with nothing but multiply-adds in registers.
double yardstick(int threads) {
  constexpr int64_t steps = 20000;
  Floats sink(static_cast<size_t>(threads) * 64);
  return rate(threads,
              [&] {
                cpu::parallel_for(threads, [&](int64_t i) { sink[size_t(i) * 64] = ladder::fma_loop<float>(steps); });
              }) *
         threads * double(steps) * ladder::fma_loop_flops<float>;
}

// What one contest gave, one element a round: flop/s of us, of them and of the yardstick.
struct Samples {
  std::vector<double> ours, theirs, peak;
};

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// a / b, of the rounds' ratios the median, or of the best rounds of both.
double ratio(const std::vector<double>& a, const std::vector<double>& b, bool best) {
  if (best) return *std::max_element(a.begin(), a.end()) / *std::max_element(b.begin(), b.end());
  std::vector<double> ratios;
  for (size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(ratios);
}

Samples sample(const Contest& contest, int threads, Samples samples) {
  samples.peak.push_back(yardstick(threads));
  samples.ours.push_back(rate(threads, contest.ours) * contest.flops);
  if (!contest.theirs) return samples;
  samples.theirs.push_back(rate(threads, contest.theirs) * contest.flops);
  // Its idle threads spin for a while and would take a core from whatever comes next.
  if (threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(15));
  return samples;
}

// Runs all contests in turn, round by round, so that a slow moment of the machine hits all alike.
void run(const std::string& title, const Options& options, const std::vector<Contest>& contests,
         nlohmann::json& report) {
  std::vector<Samples> samples(contests.size());
  for (int round = 0; round < options.rounds; ++round)
    for (size_t i = 0; i < contests.size(); ++i) samples[i] = sample(contests[i], options.threads, samples[i]);
  fmt::print("\n{}, {} thread{}\n{:34} {:>8} {:>7} {:>7} {:>7}\n", title, options.threads,
             options.threads > 1 ? "s" : "", "", "GFLOP/s", "share", "theirs", "ratio");
  double log_ratio = 0, log_share = 0, log_theirs = 0;
  bool compared = true;
  for (size_t i = 0; i < contests.size(); ++i) {
    const Samples& s = samples[i];
    const double share = ratio(s.ours, s.peak, options.best);
    fmt::print("{:34} {:8.1f} {:7.2f}", contests[i].name, median(s.ours) / 1e9, share);
    report[title]["shares"][contests[i].name] = share;
    compared = compared && !s.theirs.empty();
    if (s.theirs.empty()) {
      fmt::print("\n");
      continue;
    }
    const double theirs = ratio(s.theirs, s.peak, options.best), against = ratio(s.ours, s.theirs, options.best);
    fmt::print(" {:7.2f} {:7.2f}\n", theirs, against);
    log_share += std::log(share), log_theirs += std::log(theirs), log_ratio += std::log(against);
  }
  if (!compared) return;
  const double n = double(contests.size());
  fmt::print("{:34} {:8} {:7.2f} {:7.2f} {:7.2f}\n", "geometric mean", "", std::exp(log_share / n),
             std::exp(log_theirs / n), std::exp(log_ratio / n));
  report[title]["share"] = std::exp(log_share / n);
  report[title]["ratio"] = std::exp(log_ratio / n);
}

// The operands live as long as the contest.
Contest product(const std::string& name, bool ta, bool tb, int64_t M, int64_t N, int64_t K) {
  auto a = std::make_shared<Floats>(random_floats(M * K, 1)), b = std::make_shared<Floats>(random_floats(K * N, 2)),
       c = std::make_shared<Floats>(static_cast<size_t>(M * N));
  Contest contest{name, 2.0 * double(M) * double(N) * double(K), nullptr, nullptr};
  contest.ours = [=] { kernels<float>(Device::cpu).gemm(ta, tb, M, N, K, a->data(), b->data(), false, c->data()); };
#ifdef SWITCHYARD_OPENBLAS
  contest.theirs = [=] {
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, int(M), int(N), int(K),
                1, a->data(), int(ta ? M : K), b->data(), int(tb ? K : N), 0, c->data(), int(N));
  };
#endif
  return contest;
}

std::vector<Contest> moe_shapes(bool transpose_b) {
  std::vector<Contest> list;
  for (int64_t T : {64, 128, 256, 512})
    for (int64_t d : {128, 256, 384, 512})
      for (int64_t ff : {256, 512, 1024, 1536})
        list.push_back(product(fmt::format("T {} d {} ff {}", T, d, ff), false, transpose_b, T, ff, d));
  return list;
}

std::vector<Contest> training_shapes() {
  std::vector<Contest> list;
  for (int64_t N : {256, 768, 1024}) {
    const int64_t M = 2048, K = 256;
    list.push_back(product(fmt::format("y {}x{}x{}", M, N, K), false, true, M, N, K));
    list.push_back(product(fmt::format("dx {}x{}x{}", M, K, N), false, false, M, K, N));
    list.push_back(product(fmt::format("dW {}x{}x{}", N, K, M), true, false, N, K, M));
  }
  return list;
}

std::vector<Contest> few_rows_shapes() {
  std::vector<Contest> list;
  for (int64_t M : {1, 2, 4, 8, 12, 16, 32})
    for (bool tb : {true, false})
      list.push_back(product(fmt::format("{} rows x {}(1024 x 1024)", M, tb ? "t" : ""), false, tb, M, 1024, 1024));
  return list;
}

// One expert-parallel linear layer, forward and both gradients, of E experts with `tokens` each.
struct Experts {
  static constexpr int64_t E = 8;
  int64_t tokens, out, in;
  std::vector<int32_t> offset;
  Floats x, w, y, dx, dw;
  Experts(int64_t tokens_, int64_t out_, int64_t in_)
      : tokens(tokens_),
        out(out_),
        in(in_),
        x(random_floats(E * tokens * in, 1)),
        w(random_floats(E * out * in, 2)),
        y(random_floats(E * tokens * out, 3)),
        dx(x.size()),
        dw(w.size()) {
    for (int64_t e = 0; e <= E; ++e) offset.push_back(int32_t(e * tokens));
  }
  void ours() {
    const Kernels<float>& k = kernels<float>(Device::cpu);
    k.grouped_forward(E * tokens, E, out, in, offset.data(), nullptr, x.data(), w.data(), y.data());
    k.grouped_backward_input(E * tokens, E, out, in, offset.data(), y.data(), w.data(), dx.data());
    k.grouped_backward_weight(E * tokens, E, out, in, offset.data(), nullptr, y.data(), x.data(), dw.data());
  }
#ifdef SWITCHYARD_OPENBLAS
  void theirs() {
    const int T = int(tokens), O = int(out), I = int(in);
    const auto at = [](Floats& f, int64_t e) { return f.data() + e * (int64_t(f.size()) / E); };
    for (int64_t e = 0; e < E; ++e)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, T, O, I, 1, at(x, e), I, at(w, e), I, 0, at(y, e), O);
    for (int64_t e = 0; e < E; ++e)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, T, I, O, 1, at(y, e), O, at(w, e), I, 0, at(dx, e), I);
    for (int64_t e = 0; e < E; ++e)
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, O, I, T, 1, at(y, e), O, at(x, e), I, 0, at(dw, e), I);
  }
#endif
};

std::vector<Contest> expert_shapes() {
  std::vector<Contest> list;
  for (int64_t tokens : {64, 128, 256, 512})
    for (auto [out, in] : {std::pair{1024, 256}, std::pair{512, 256}, std::pair{256, 512}}) {
      auto layer = std::make_shared<Experts>(tokens, out, in);
      Contest contest{fmt::format("8 x {} tokens, {} -> {}", tokens, in, out),
                      6.0 * double(Experts::E * tokens * out * in), [=] { layer->ours(); }, nullptr};
#ifdef SWITCHYARD_OPENBLAS
      contest.theirs = [=] { layer->theirs(); };
#endif
      list.push_back(contest);
    }
  return list;
}

std::vector<Contest> ladder_steps() {
  const int64_t M = 512, N = 512, K = 512;
  auto a = std::make_shared<Floats>(random_floats(M * K, 1)), b = std::make_shared<Floats>(random_floats(K * N, 2)),
       c = std::make_shared<Floats>(static_cast<size_t>(M * N));
  std::vector<Contest> list;
  const auto step = [&](const char* name, auto f) {
    list.push_back({name, 2.0 * M * N * K, [=] { f(M, N, K, a->data(), b->data(), c->data()); }, nullptr});
  };
  step("1 naive", ladder::naive<float>);
  step("2 row by row", ladder::row_by_row<float>);
  step("3 blocked for the cache", ladder::blocked<float>);
  step("4 tile in registers", ladder::register_tile<float>);
  step("5 packed", ladder::packed<float>);
  list.push_back(product("6 gemm", false, false, M, N, K));
  return list;
}

void main_program(const Options& options) {
  set_threads(options.threads);
  nlohmann::json report = {{"threads", options.threads}, {"isa", cpu_isa()}};
#ifdef SWITCHYARD_OPENBLAS
  openblas_set_num_threads(options.threads);
  fmt::print("theirs: {} as {}\n", openblas_get_config(), openblas_get_corename());
  report["openblas"] = openblas_get_corename();
#endif
  const auto section = [&](const char* name, const std::string& title, auto contests) {
    if (options.section == "all" || options.section == name) run(title, options, contests(), report);
  };
  section("moe", "C[T,ff] = A[T,d] B[d,ff]", [] { return moe_shapes(false); });
  section("moe-t", "C[T,ff] = A[T,d] W[ff,d]^T", [] { return moe_shapes(true); });
  section("train", "a training step's products", training_shapes);
  section("experts", "experts: forward, dX and dW", expert_shapes);
  section("few", "few rows", few_rows_shapes);
  if (options.threads == 1) section("ladder", "the ladder, 512 x 512 x 512", ladder_steps);
  if (options.json) fmt::print("{}\n", report.dump());
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  switchyard::Options options;
  CLI::App app{"Speed of the matrix products"};
  app.add_option("--threads", options.threads, "threads of ours and of OpenBLAS")->capture_default_str();
  app.add_option("--rounds", options.rounds, "samples of each; the median counts")->capture_default_str();
  app.add_option("--section", options.section, "moe, moe-t, train, experts, few, ladder or all")
      ->check(CLI::IsMember({"moe", "moe-t", "train", "experts", "few", "ladder", "all"}))
      ->capture_default_str();
  app.add_flag("--best", options.best, "compare the best samples, not the medians: on a machine that others use too");
  app.add_flag("--json", options.json, "end with one line of JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    switchyard::main_program(options);
  } catch (const switchyard::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
}
