#include "tensor/cpu/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tensor/device.h"
#include "tensor/error.h"

namespace switchyard {
namespace {

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Waiting threads spin this often before they sleep: long enough to bridge two kernels, short enough not to starve a
// neighbour when the machine is shared.
constexpr int spins = 4000;

thread_local bool inside_loop = false;

// The CPUs that this process may run on; asked once, for a thread that is tied to one sees only that.
const std::vector<int>& available_cpus() {
  static const std::vector<int> cpus = [] {
    std::vector<int> found;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return std::vector<int>{0};
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) found.push_back(i);
    return found;
  }();
  return cpus;
}

// Thread number i to CPU number i, or to all of them.
void tie(pthread_t thread, size_t i, bool on) {
  const std::vector<int>& cpus = available_cpus();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t c = 0; c < cpus.size(); ++c)
    if (!on || c == i) CPU_SET(cpus[c], &set);
  pthread_setaffinity_np(thread, sizeof set, &set);
}

// The threads that help the caller. A loop is published as a ticket: its number, whether it is open, and how many
// workers are inside. A worker that comes late finds it closed and is not waited for, so a thread that the machine has
// put aside delays nobody.
class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    stop_ = true;
    wake();
    for (std::thread& worker : workers_) worker.join();
  }
  void pin(bool on) {
    for (size_t i = 0; i < workers_.size(); ++i) tie(workers_[i].native_handle(), i + 1, on);
  }
  void run(int64_t n, cpu::LoopBody body, void* context) {
    body_ = body, context_ = context, n_ = n;
    next_.store(0, std::memory_order_relaxed);
    ticket_.store((ticket_.load() / loop + 1) * loop + open);
    if (sleepers_.load() > 0) wake();
    take_indices();
    ticket_.fetch_and(~open);
    for (int i = 0; ticket_.load() % open != 0; ++i) i < spins ? pause_briefly() : std::this_thread::yield();
  }

 private:
  static constexpr uint64_t open = uint64_t{1} << 16, loop = open * 2;  // below `open`: workers inside

  void take_indices() {
    inside_loop = true;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) body_(context_, i);
    inside_loop = false;
  }
  void work() {
    uint64_t seen = 0;
    while (!stop_) {
      uint64_t ticket = wait_for_loop_after(seen);
      if (stop_) return;
      seen = ticket / loop;
      // Enter only while this very loop is still open; then its fields cannot change until we leave.
      while (ticket / loop == seen && (ticket & open)) {
        if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
        take_indices();
        ticket_.fetch_sub(1);
        break;
      }
    }
  }
  uint64_t wait_for_loop_after(uint64_t seen) {
    const auto ready = [&] { return stop_ || ticket_.load() / loop != seen; };
    for (int i = 0; i < spins && !ready(); ++i) pause_briefly();
    if (!ready()) {
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      bell_.wait(lock, ready);
      sleepers_.fetch_sub(1);
    }
    return ticket_.load();
  }
  void wake() {
    { std::lock_guard lock(mutex_); }  // nobody is between looking at the ticket and going to sleep
    bell_.notify_all();
  }

  cpu::LoopBody body_ = nullptr;
  void* context_ = nullptr;
  int64_t n_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint64_t> ticket_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable bell_;
  std::vector<std::thread> workers_;
};

int thread_count = 0;  // 0 until somebody asks
bool pinned = false;
std::unique_ptr<Pool> pool;
std::mutex pool_in_use;  // one loop at a time has the helpers

}  // namespace

int threads() {
  if (thread_count == 0) set_threads(int(std::min<size_t>(available_cpus().size(), 1024)));
  return thread_count;
}

void set_threads(int n) {
  check(n >= 1 && n <= 1024, "--threads {}: must be 1 to 1024", n);
  check(!inside_loop, "set_threads({}) inside a parallel loop: must stand outside", n);
  if (n == thread_count) return;
  if (pinned) pin_threads(false);  // new threads inherit where this one may run
  pool = n > 1 ? std::make_unique<Pool>(n - 1) : nullptr;
  thread_count = n;
}

void pin_threads(bool on) {
  const size_t cpus = available_cpus().size();
  check(!on || size_t(threads()) <= cpus, "--pin: {} threads on {} CPUs; --threads must be at most that", threads(),
        cpus);
  tie(pthread_self(), 0, on);
  if (pool) pool->pin(on);
  pinned = on;
}

namespace cpu {

void run_parallel(int64_t n, LoopBody body, void* context) {
  const auto alone = [&] {
    for (int64_t i = 0; i < n; ++i) body(context, i);
  };
  if (n <= 1 || inside_loop) return alone();
  // A second thread that calls while the helpers are busy does its loop itself.
  const std::unique_lock lock(pool_in_use, std::try_to_lock);
  if (!lock || threads() == 1) return alone();
  pool->run(n, body, context);
}

}  // namespace cpu
}  // namespace switchyard
