// Is this machine, and this build, as they should be? What a person would otherwise find out from a slow run.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

// What was found. Numbers below zero, and empty texts, are not known.
struct MachineFacts {
  std::string processor, isa, best_isa, bf16;  // isa: what the kernels use; best_isa: the most that they could
  int cpus = 0, threads = 0;                   // that this process may run on; that it uses
  double quota = -1;                           // CPUs' worth of time that its control group may take
  double load = -1;                            // processes that wanted to run in the last minute, on average
  int64_t memory = -1, memory_available = -1, swap_used = -1, disk_free = -1;  // bytes
  double flops_one = 0, flops = 0;  // multiply-adds of one thread, and of all: operations a second
  double unsteady = 0;              // the slowest of ten such measurements to the fastest: time over time, 1 or more
  double bytes = 0;                 // a second, read from memory
  std::string huge_pages;           // "always", "madvise" or "never"
  std::string gpu;                  // its name; or why there is none
  bool gpu_there = false;
  bool optimised = true;
  std::string sanitizer;
};

struct Finding {
  std::string what;    // "threads       2, on 2 CPUs"
  std::string advice;  // "": as it should be; else what is odd about it, and what would help
};

// Looks, and measures for about a second.
MachineFacts examine();
// What follows from the facts.
std::vector<Finding> diagnose(const MachineFacts& facts);

}  // namespace switchyard
