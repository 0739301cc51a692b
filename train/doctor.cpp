#include "train/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tensor/cuda/device.h"
#include "tensor/device.h"
#include "tensor/machine.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// "always [madvise] never" -> "madvise"
std::string chosen(const std::string& text) {
  const size_t open = text.find('['), close = text.find(']');
  return open < close && close != std::string::npos ? text.substr(open + 1, close - open - 1) : "";
}

// cpu.max of control groups, version 2: "150000 100000" is one and a half CPUs, "max 100000" is no limit.
double cpu_quota() {
  std::istringstream in(first_line("/sys/fs/cgroup/cpu.max"));
  double most = 0, period = 0;
  return in >> most >> period && period > 0 ? most / period : -1;
}

std::string sanitizer_of_this_build() {
#if defined(__SANITIZE_ADDRESS__)
  return "address";
#elif defined(__SANITIZE_THREAD__)
  return "thread";
#else
  return "";
#endif
}

void measure_speeds(MachineFacts& f) {
  const int n = threads();
  set_threads(1);
  f.flops_one = measure_flops();
  set_threads(n);
  double least = 1e300;
  for (int i = 0; i < 10; ++i) {
    const double flops = measure_flops(0.02);
    f.flops = std::max(f.flops, flops), least = std::min(least, flops);
  }
  f.unsteady = f.flops / least;
  f.bytes = measure_bytes(0.1);
}

double giga(double x) { return x / 1e9; }

Finding finding(std::string what, bool odd, std::string advice) {
  return {std::move(what), odd ? std::move(advice) : ""};
}

void diagnose_build(const MachineFacts& f, std::vector<Finding>& all) {
  const std::string build =
      f.sanitizer.empty() ? (f.optimised ? "optimised" : "not optimised") : "with the " + f.sanitizer + " sanitizer";
  all.push_back(finding("build         " + build, !f.optimised || !f.sanitizer.empty(),
                        "kernels run several times slower than they could; build with --preset release"));
  all.push_back(finding(fmt::format("instructions  {}{}", f.isa, f.bf16.empty() ? "" : ", bf16 products by " + f.bf16),
                        f.isa != f.best_isa,
                        fmt::format("the processor has {}; SWITCHYARD_ISA holds it back", f.best_isa)));
}

void diagnose_threads(const MachineFacts& f, std::vector<Finding>& all) {
  std::string advice;
  if (f.threads > f.cpus)
    advice = fmt::format("more threads than CPUs wait for each other; --threads {}", f.cpus);
  else if (f.quota >= 0 && f.quota < f.threads * 0.95)
    advice = fmt::format("the container may use {:.1f} CPUs, so threads are stopped in turn; --threads {}", f.quota,
                         std::max(1, static_cast<int>(f.quota)));
  else if (f.threads < f.cpus)
    advice = fmt::format("{} CPUs are left idle; --threads {} uses all", f.cpus - f.threads, f.cpus);
  all.push_back({fmt::format("threads       {}, on {} CPUs", f.threads, f.cpus), advice});
  if (f.load >= 0)
    all.push_back(finding(fmt::format("load          {:.1f} processes wanted to run in the last minute", f.load),
                          f.load > 0.5 * f.cpus,
                          "others are at work here: a run will take longer than forecast, and timings will scatter"));
}

void diagnose_speed(const MachineFacts& f, std::vector<Finding>& all) {
  const double gain = f.flops_one > 0 ? f.flops / f.flops_one : f.threads;
  all.push_back(
      finding(fmt::format("arithmetic    {:.0f} GFLOP/s, {:.2f} times one thread's", giga(f.flops), gain),
              gain < 0.7 * f.threads,
              "threads share cores, as hyperthreads do, or somebody else uses them; try fewer with --threads"));
  all.push_back(finding(
      fmt::format("steadiness    the slowest of ten measurements took {:.2f} times the fastest", f.unsteady),
      f.unsteady > 1.25, "the speed changes from one moment to the next; compare timings only side by side, in turn"));
  all.push_back(
      finding(fmt::format("bandwidth     {:.1f} GB/s read from memory", giga(f.bytes)), f.bytes < 5e9,
              "slow memory, or a neighbour who uses it: generation will be slow, it reads every weight per token"));
}

void diagnose_memory(const MachineFacts& f, std::vector<Finding>& all) {
  if (f.memory_available >= 0)
    all.push_back(finding(fmt::format("memory        {:.1f} GB available of {:.1f}", giga(double(f.memory_available)),
                                      giga(double(f.memory))),
                          f.memory_available < 1'000'000'000, "little is left; larger presets will be refused"));
  if (f.swap_used > 100'000'000)
    all.push_back({fmt::format("swap          {:.1f} GB in use", giga(double(f.swap_used))),
                   "memory has been short lately; a run that is swapped out stands still"});
  if (!f.huge_pages.empty())
    all.push_back(finding("huge pages    " + f.huge_pages, f.huge_pages == "never",
                          "products run some percent faster with them: echo madvise > "
                          "/sys/kernel/mm/transparent_hugepage/enabled, as root"));
  if (f.disk_free >= 0)
    all.push_back(finding(fmt::format("disk          {:.1f} GB free here", giga(double(f.disk_free))),
                          f.disk_free < 1'000'000'000, "checkpoints are 12 bytes a parameter, and two are kept"));
}

}  // namespace

MachineFacts examine() {
  MachineFacts f;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line) && f.processor.empty();)
    if (line.starts_with("model name")) f.processor = line.substr(line.find(':') + 2);
  f.isa = cpu_isa(), f.best_isa = best_cpu_isa(), f.bf16 = cpu_bf16();
  f.threads = threads(), f.cpus = available_cpus();
  f.quota = cpu_quota();
  std::istringstream(first_line("/proc/loadavg")) >> f.load;
  f.memory = memory_entry("MemTotal"), f.memory_available = memory_available();
  f.swap_used = memory_entry("SwapTotal") - memory_entry("SwapFree");
  std::error_code unknown;
  const fs::space_info space = fs::space(".", unknown);
  if (!unknown) f.disk_free = static_cast<int64_t>(space.available);
  f.huge_pages = chosen(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  const auto why_not = gpu::unavailable();
  f.gpu_there = !why_not;
  f.gpu = why_not ? *why_not : gpu::device_info().name;
#ifndef __OPTIMIZE__
  f.optimised = false;
#endif
  f.sanitizer = sanitizer_of_this_build();
  measure_speeds(f);
  return f;
}

std::vector<Finding> diagnose(const MachineFacts& f) {
  std::vector<Finding> all;
  if (!f.processor.empty()) all.push_back({"processor     " + f.processor, ""});
  diagnose_build(f, all);
  diagnose_threads(f, all);
  diagnose_speed(f, all);
  diagnose_memory(f, all);
  all.push_back({std::string("GPU           ") + (f.gpu_there ? "" : "none: ") + f.gpu, ""});
  return all;
}

}  // namespace switchyard
