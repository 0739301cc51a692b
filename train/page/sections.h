// The parts of the page, from top to bottom. Each gives HTML; several runs share each chart.
#pragma once
#include <string>
#include <vector>

#include "train/page/text_routes.h"

namespace switchyard::page {

using Runs = std::vector<Run>;

std::string loss_section(const Runs& runs);
std::string floor_section(const Runs& runs);   // "" where no run has a floor
std::string load_section(const Runs& runs);    // the heat maps; "" for dense models
std::string router_section(const Runs& runs);  // the same
std::string optimizer_section(const Runs& runs);
std::string events_section(const Runs& runs);  // "" where nothing happened
std::string samples_section(const Runs& runs);
// `routes`: of each run.
std::string texts_section(const Runs& runs, const std::vector<Routes>& routes);
std::string domains_section(const Runs& runs, const std::vector<Routes>& routes);

}  // namespace switchyard::page
