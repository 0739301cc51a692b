// Parts of a model that training leaves as they are.
#pragma once
#include <string>
#include <vector>

#include "moe/transformer.h"

namespace switchyard {

// The model, with the parameters of these parts no longer wanting a gradient: "router", "experts" (the shared ones
// too), "attention", "mlp" (of layers without experts), "norms", "embedding" (and the output layer). An optimizer made
// afterwards leaves them out. Of a model with adapters everything else is frozen, whatever the parts. Error: another
// name; a part that the model does not have; nothing is left to train.
Transformer& frozen(Transformer& model, const std::vector<std::string>& parts);

// Numbers in the parameters that are trained.
int64_t trained_parameters(Transformer& model);

}  // namespace switchyard
