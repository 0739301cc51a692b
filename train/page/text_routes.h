// Where a run's model sends the tokens of a few texts, and which experts serve which domains: from its last checkpoint.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "train/page/run_data.h"
#include "train/specialisation.h"

namespace switchyard::page {

struct RoutedToken {
  std::string bytes;
  // [layer] the experts that it visits with their gates, the largest gate first; there may be none.
  std::vector<std::vector<std::pair<int32_t, double>>> layers;
};

struct RoutedText {
  std::string title;
  std::vector<RoutedToken> tokens;
};

struct DomainVisits {
  VisitTable visits;            // [domain][expert]
  double bits = 0, chance = 0;  // what an expert tells of the domain; the same where domains are dealt anew
};

struct Routes {
  std::string missing;  // why there is nothing to show; else ""
  int64_t step = 0;     // of the checkpoint
  int64_t experts = 0, layers = 0;
  std::vector<RoutedText> texts;
  std::vector<DomainVisits> domains;  // [layer]; empty for text that is not the built-in corpus
};

// Runs the model in the run's folder over one validation document of each domain or, for other text, the run's last
// sample, cut to a few hundred tokens. Whatever stands in the way is told in `missing`.
Routes route_texts(const Run& run);

}  // namespace switchyard::page
