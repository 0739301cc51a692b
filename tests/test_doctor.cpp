// The doctor: a sound machine has nothing odd, and each fault is found, alone.
#include <doctest/doctest.h>

#include <fstream>

#include "tensor/machine.h"
#include "tests/scratch.h"
#include "train/doctor.h"

using namespace switchyard;
namespace fs = std::filesystem;

namespace {

MachineFacts sound() {
  return {.processor = "A processor",
          .isa = "avx2",
          .best_isa = "avx2",
          .bf16 = "f32",
          .cpus = 4,
          .threads = 4,
          .quota = -1,
          .load = 0.3,
          .memory = 16'000'000'000,
          .memory_available = 12'000'000'000,
          .swap_used = 0,
          .disk_free = 50'000'000'000,
          .flops_one = 50e9,
          .flops = 190e9,
          .unsteady = 1.05,
          .bytes = 20e9,
          .huge_pages = "madvise",
          .gpu = "no driver",
          .gpu_there = false,
          .optimised = true,
          .sanitizer = ""};
}

// The advice on what is odd, all of it.
std::vector<std::string> odd(const MachineFacts& facts) {
  std::vector<std::string> advice;
  for (const Finding& f : diagnose(facts))
    if (!f.advice.empty()) advice.push_back(f.what + " | " + f.advice);
  return advice;
}

}  // namespace

TEST_CASE("doctor: nothing is odd about a sound machine") { CHECK(odd(sound()).empty()); }

TEST_CASE("doctor: each fault is found, and no other") {
  const auto only = [](const std::string& word, auto&& spoil) {
    MachineFacts f = sound();
    spoil(f);
    const std::vector<std::string> found = odd(f);
    CAPTURE(word);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find(word) != std::string::npos);
  };
  only("--preset release", [](auto& f) { f.optimised = false; });
  only("the address sanitizer", [](auto& f) { f.sanitizer = "address"; });
  only("the processor has avx512", [](auto& f) { f.best_isa = "avx512"; });
  only("--threads 4", [](auto& f) { f.threads = 8, f.flops = 400e9; });
  only("2 CPUs are left idle; --threads 4", [](auto& f) { f.threads = 2, f.flops = 99e9; });
  only("the container may use 1.5 CPUs", [](auto& f) { f.quota = 1.5; });
  only("others are at work", [](auto& f) { f.load = 3; });
  only("1.20 times one thread's", [](auto& f) { f.flops = 60e9; });
  only("side by side", [](auto& f) { f.unsteady = 1.6; });
  only("slow memory", [](auto& f) { f.bytes = 2e9; });
  only("will be refused", [](auto& f) { f.memory_available = 500'000'000; });
  only("swapped out", [](auto& f) { f.swap_used = 2'000'000'000; });
  only("huge pages    never", [](auto& f) { f.huge_pages = "never"; });
  only("two are kept", [](auto& f) { f.disk_free = 100'000'000; });
}

TEST_CASE("doctor: what is not known is not odd") {
  MachineFacts f = sound();
  f.load = f.quota = -1, f.memory = f.memory_available = f.swap_used = f.disk_free = -1, f.huge_pages = "";
  CHECK(odd(f).empty());
}

TEST_CASE("machine: a container's limit counts where it is below what the system has") {
  const Scratch scratch;
  const auto write = [&](const std::string& name, const std::string& text) {
    fs::create_directories((scratch.path / name).parent_path());
    std::ofstream(scratch.path / name) << text;
  };
  const auto available = [&] { return memory_available(scratch.path, scratch.path); };
  CHECK(available() == -1);
  write("meminfo", "MemTotal:       2000 kB\nMemFree:  1 kB\nMemAvailable:    1000 kB\n");
  CHECK(available() == 1000 * 1024);
  CHECK(memory_entry("MemTotal", scratch.path) == 2000 * 1024);
  write("memory.max", "max\n"), write("memory.current", "5\n");
  CHECK(available() == 1000 * 1024);
  write("memory.max", "700000\n"), write("memory.current", "100000\n");
  CHECK(available() == 600000);
  write("memory.current", "800000\n");
  CHECK(available() == 0);
  fs::remove(scratch.path / "memory.max");
  write("memory/memory.limit_in_bytes", "500000\n"), write("memory/memory.usage_in_bytes", "100000\n");
  CHECK(available() == 400000);
}
