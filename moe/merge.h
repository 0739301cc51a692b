// A model whose low-rank adapters have become part of its matrices.
#pragma once
#include "moe/transformer.h"

namespace switchyard {

// The same model without adapters: W + alpha / r B A in place of each adapted W (Hu et al. 2021, section 4.1: no cost
// in generation). It computes the same but for rounding.
Transformer merged(Transformer& model);

}  // namespace switchyard
