// What a run's curves say in words, and several runs side by side in tables.
#pragma once
#include <string>
#include <vector>

#include "train/page/run_data.h"

namespace switchyard::page {

struct Summary {
  std::string said;                   // how far the run is, and its losses
  std::vector<std::string> findings;  // what asks for attention, the gravest first; empty: nothing does
};
Summary summarise(const Run& run);

// The steps that tell how a run stands: its last tenth.
struct Tail {
  size_t from, to;
};
Tail tail_of(const Run& run);

// Share of a step's proposals that were dropped, all layers together; unknown where it has none.
double dropped_share(const StepLine& step);
// Share of the steps whose gradient was scaled down to --clip; unknown without a configuration.
double clipped_share(const Run& run);

// A table with a row for each figure and a column for each run.
std::string results_table(const std::vector<Run>& runs);
// Tables of the configurations: the fields that differ, "" where none does or there is one run; and all of them.
std::string differences_table(const std::vector<Run>& runs);
std::string configuration_table(const std::vector<Run>& runs);

}  // namespace switchyard::page
