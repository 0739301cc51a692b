#include "train/reproduce/experiment.h"

#include "moe/config_io.h"

namespace switchyard::reproduce {

std::optional<Results> run_experiment(const Experiment& e, const Options& options, const std::atomic<bool>& stop) {
  Sweep sweep{.name = std::string(e.name),
              .variants = e.variants(options.quick),
              .seeds = {},
              .out = options.out / e.name,
              .seconds = 60 * (options.quick ? e.quick_minutes : e.minutes) * options.seeds / 3,
              .version = e.version,
              .measure = e.measure,
              .quiet = options.quiet};
  for (int seed = 1; seed <= options.seeds; ++seed) sweep.seeds.push_back(static_cast<uint64_t>(seed));
  return train_sweep(sweep, stop);
}

const Experiment& find_experiment(std::string_view name) {
  std::vector<std::string> names{"all"};
  for (const Experiment* e : experiments()) {
    if (e->name == name) return *e;
    names.emplace_back(e->name);
  }
  fail("reproduce {}: no such experiment; did you mean {}?", name, nearest(name, names));
}

}  // namespace switchyard::reproduce
