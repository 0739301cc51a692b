// The products of a step alone, each beside the naive loop and beside OpenBLAS where it was found.
#pragma once
#include "tests/bench/profile.h"

namespace switchyard::bench {

// The same product by us and by others; 0 for what was not run. The naive loop runs once, on one thread, with operands
// that are not transposed, and only where it takes well under a second: up to 0.3 GFLOP.
struct Contest {
  std::string name;
  double flops = 0, rate = 0;                                  // rate: ours, flop/s
  double of_yardstick = 0, over_naive = 0, over_openblas = 0;  // ratios of rates, medians of the rounds
};

// Whose products ours run beside: OpenBLAS's name for the processor, or "" where it was not found.
std::string openblas_name();

// Ours and OpenBLAS's in turn, round by round, the yardstick beside them. The slots of grouped products are spread
// evenly over the experts. progress(i) is called before the i-th of a round.
std::vector<Contest> run_contests(const std::vector<Row>& products, int threads, int rounds,
                                  const std::function<void(int round)>& progress);

}  // namespace switchyard::bench
