// The report of one or several runs: one HTML file that asks nobody for anything.
#pragma once
#include <string>
#include <vector>

#include "train/page/text_routes.h"

namespace switchyard::page {

constexpr size_t most_runs = 8;  // as many as there are colours

// The page. `routes`: of each run. The same input gives the same bytes.
std::string report_page(const std::vector<Run>& runs, const std::vector<Routes>& routes);

}  // namespace switchyard::page
