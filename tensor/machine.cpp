#include "tensor/machine.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tensor/cpu/limits.h"
#include "tensor/cpu/parallel.h"
#include "tensor/device.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Calls f until `least` seconds have passed; seconds a call, of the fastest: what slows a call is never the machine.
template <class F>
double fastest(double least, F&& f) {
  const Clock::time_point start = Clock::now();
  double best = 1e30;
  for (Clock::time_point at = start;;) {
    f();
    const Clock::time_point now = Clock::now();
    best = std::min(best, std::chrono::duration<double>(now - at).count());
    at = now;
    if (std::chrono::duration<double>(now - start).count() > least) return best;
  }
}

// The number behind `key` of a file such as /proc/meminfo, in bytes ("kB" there are 1024); -1 if it is not there.
int64_t entry(const fs::path& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string word; in >> word;) {
    int64_t kilobytes = 0;
    if (word == key + ":" && in >> kilobytes) return kilobytes * 1024;
    in.ignore(1 << 20, '\n');
  }
  return -1;
}

// A file that holds one number; -1 if there is none, or "max".
int64_t number(const fs::path& path) {
  std::ifstream in(path);
  int64_t n = -1;
  return in >> n ? n : -1;
}

}  // namespace

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

double measure_flops(double seconds) {
  const cpu::MeasuringLoops loops = cpu::measuring_loops();
  const int64_t pieces = 8 * threads();
  std::vector<float> sink(static_cast<size_t>(pieces) * 16);
  double flops = 0;
  const double call = fastest(seconds, [&] {
    cpu::parallel_for(pieces, [&](int64_t i) {
      const double done = loops.multiply_add(20'000, sink.data() + 16 * i);
      if (i == 0) flops = done * double(pieces);
    });
  });
  return flops / call;
}

double measure_bytes(double seconds) {
  constexpr int64_t n = int64_t{64} << 20 >> 2;  // 64 MB for each thread: more than caches hold
  const cpu::MeasuringLoops loops = cpu::measuring_loops();
  const int64_t parts = threads();
  const std::unique_ptr<float[]> memory(new float[static_cast<size_t>(n * parts)]);
  std::vector<float> sink(static_cast<size_t>(parts) * 16);
  cpu::parallel_for(parts, [&](int64_t i) { std::fill_n(memory.get() + i * n, n, 1.0f); });
  const double call = fastest(seconds, [&] {
    cpu::parallel_for(parts, [&](int64_t i) { loops.read(n, memory.get() + i * n, sink.data() + 16 * i); });
  });
  return double(n * parts) * sizeof(float) / call;
}

int64_t memory_entry(const std::string& key, const fs::path& proc) { return entry(proc / "meminfo", key); }

int64_t memory_available(const fs::path& proc, const fs::path& groups) {
  int64_t available = memory_entry("MemAvailable", proc);
  // The group's own limit: version 2 of control groups, or version 1.
  for (const auto& [limit, used] :
       {std::pair("memory.max", "memory.current"), {"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"}}) {
    const int64_t most = number(groups / limit), now = number(groups / used);
    if (most < 0 || now < 0) continue;
    const int64_t left = std::max<int64_t>(most - now, 0);
    available = available < 0 ? left : std::min(available, left);
  }
  return available;
}

int64_t memory_peak() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t memory_now() { return std::max<int64_t>(entry("/proc/self/status", "VmRSS"), 0); }

}  // namespace switchyard
