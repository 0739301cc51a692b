#include "train/reproduce/experiment.h"

namespace switchyard::reproduce {

extern const Experiment collapse, switch_scaling, deepseekmoe_table, capacity, granularity, specialisation, distill,
    upcycle, stability, finetune, optimisers;

std::span<const Experiment* const> experiments() {
  static const Experiment* const list[] = {&collapse,    &switch_scaling, &deepseekmoe_table, &capacity,
                                           &granularity, &specialisation, &distill,           &upcycle,
                                           &stability,   &finetune,       &optimisers};
  return list;
}

}  // namespace switchyard::reproduce
