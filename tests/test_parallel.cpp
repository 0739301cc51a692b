// The loop over threads: every index once, whatever the number of threads, and no call hangs.
#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <thread>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/device.h"
#include "tensor/error.h"

using namespace switchyard;

namespace {

struct KeepThreads {
  int before = threads();
  ~KeepThreads() { set_threads(before); }
};

bool every_index_once(int64_t n) {
  std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
  cpu::parallel_for(n, [&](int64_t i) { visits[size_t(i)].fetch_add(1, std::memory_order_relaxed); });
  for (const std::atomic<int>& count : visits)
    if (count != 1) return false;
  return true;
}

// How many CPUs a thread may run on (thread 0: the caller); 0 if it has just ended.
int cpus_of(pid_t thread) {
  cpu_set_t set;
  return sched_getaffinity(thread, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}
// Threads of this process that may run on one CPU alone.
int tied_threads() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    count += cpus_of(std::stoi(entry.path().filename())) == 1;
  return count;
}

}  // namespace

TEST_SUITE("kernels parallel") {
  TEST_CASE("every index is visited exactly once") {
    const KeepThreads keep;
    for (int count : {1, 2, 3, 8}) {
      set_threads(count);
      CHECK(threads() == count);
      for (int64_t n : {0, 1, 2, 3, 7, 64, 1000, 100003}) CHECK(every_index_once(n));
    }
  }

  TEST_CASE("blocks are consecutive, cover the range and depend on the sizes alone") {
    const KeepThreads keep;
    for (int count : {1, 2, 3}) {
      set_threads(count);
      for (int64_t n : {0, 1, 9, 10, 11, 1000})
        for (int64_t block : {1, 3, 10, 5000}) {
          std::vector<int64_t> end_of(static_cast<size_t>(n), -1);
          cpu::parallel_blocks(n, block, [&](int64_t first, int64_t last) { end_of[size_t(first)] = last; });
          bool right = true;
          for (int64_t i = 0; i < n; ++i)
            right = right && end_of[size_t(i)] == (i % block == 0 ? std::min(i + block, n) : -1);
          CHECK(right);
        }
    }
  }

  TEST_CASE("what the loop wrote is seen after it, and what was written before is seen in it") {
    const KeepThreads keep;
    for (int count : {2, 3, 8}) {
      set_threads(count);
      std::vector<int64_t> x(257, 0);  // not atomic: the loop itself must order these accesses
      for (int repeat = 0; repeat < 2000; ++repeat)
        cpu::parallel_for(int64_t(x.size()), [&](int64_t i) { x[size_t(i)] += x[size_t(i)] == repeat; });
      CHECK(x == std::vector<int64_t>(257, 2000));
    }
  }

  TEST_CASE("a loop inside a loop visits every index too") {
    const KeepThreads keep;
    for (int count : {1, 2, 3}) {
      set_threads(count);
      std::vector<std::atomic<int>> visits(20 * 30);
      cpu::parallel_for(
          20, [&](int64_t i) { cpu::parallel_for(30, [&](int64_t j) { visits[size_t(i * 30 + j)].fetch_add(1); }); });
      bool once = true;
      for (const std::atomic<int>& visit : visits) once = once && visit == 1;
      CHECK(once);
      CHECK(every_index_once(100));
    }
  }

  TEST_CASE("ten thousand tiny loops in a row, with the number of threads changing, come to an end") {
    const KeepThreads keep;
    int64_t total = 0;
    for (int count : {3, 2, 8, 1, 4}) {
      set_threads(count);
      for (int repeat = 0; repeat < 2000; ++repeat) {
        int64_t part[3] = {};
        cpu::parallel_for(3, [&](int64_t i) { part[i] = i + 1; });
        total += part[0] + part[1] + part[2];
      }
    }
    CHECK(total == 6 * 10000);
  }

  TEST_CASE("workers that went to sleep come back") {
    const KeepThreads keep;
    set_threads(3);
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      CHECK(every_index_once(50));
    }
  }

  TEST_CASE("pinned threads have a CPU each, and unpinned ones all of them again") {
    const KeepThreads keep;
    const int cpus = cpus_of(0);
    if (cpus == 1) return;  // all threads have one
    for (int count = 1; count <= std::min(cpus, 3); ++count) {
      CAPTURE(count);
      set_threads(count);
      pin_threads(true);
      CHECK(every_index_once(100));
      CHECK(tied_threads() == count);
      pin_threads(false);
      CHECK(tied_threads() == 0);
      pin_threads(true);
      set_threads(count + 1);  // unties, and new threads do not inherit one CPU
      CHECK(tied_threads() == 0);
    }
    set_threads(cpus + 1);
    CHECK_THROWS_AS(pin_threads(true), Error);
    CHECK(tied_threads() == 0);
  }

  TEST_CASE("set_threads rejects numbers that are out of range") {
    const KeepThreads keep;
    for (int wrong : {0, -1, 1025}) CHECK_THROWS_AS(set_threads(wrong), Error);
    CHECK(threads() == keep.before);
  }
}
