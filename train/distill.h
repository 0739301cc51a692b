// From one model to another: a mixture taught to a dense model, and a dense model made into a mixture.
#pragma once
#include "train/run_folder.h"

namespace switchyard {

// -sum_v q_v log softmax(logits)_v of each row, which is logsumexp(logits) - sum_v q_v logits_v where q sums to one:
// what cross_entropy() is with all of a teacher's probabilities q (rows, V) in place of one target
// (Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2). logits (rows, V) -> (rows)
Var soft_cross_entropy(const Var& logits, const Tensor& q);

// The probabilities that a model gives the next tokens, (B T, V); no gradient.
Tensor probabilities(Transformer& model, const Tensor& tokens);

// What stands beside the text's own loss of a student of this shape, dtype and device: the loss is then (1 - s) hard +
// s soft, with s the teacher's share. Loads the teacher. Error if it has not the student's vocabulary.
std::function<AuxTerm(const Batch& batch, const Var& logits)> taught_by(const Teacher& teacher,
                                                                        const Transformer& student);

// Copies the parameters that both models have, by name and shape: of a mixture and a dense model all but the MLPs,
// the experts and the routers (Fedus et al. 2021, section 4.2, "initialize with the non-expert weights"). Names that
// hold `except` are left out. Returns how many elements were copied.
int64_t copy_common_weights(Transformer& from, Transformer& to, std::string_view except = {});

// The mixture of `config` that a dense model is made into (Komatsuzaki et al. 2022, "Sparse upcycling", section 3):
// every expert is a copy of the MLP, the router is new. Where gates sum to one it computes what the dense model does.
// Error if the configuration differs from the dense model's in more than its experts.
Transformer upcycled(Transformer& dense, const ModelConfig& config, uint64_t seed);

// A run that begins with another model's weights, which are written to the folder start/ of its own.
// The student of the teacher in `dir` begins with its common weights, all but MLPs; Error if it has none:
RunConfig begun_as_student(RunConfig config, const std::filesystem::path& dir);
// and a mixture as the dense model in `dir`, upcycled:
RunConfig begun_as_mixture(RunConfig config, const std::filesystem::path& dir);

}  // namespace switchyard
