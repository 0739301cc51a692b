// Whether a step is like those before it. A batch that is not, or a number that is none, should not move the weights.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// A spike is a loss that is far above those of the last 128 steps: by so many of their standard deviations, and by more
// than a tenth of a nat, which a model that knows its text by heart would exceed otherwise. OLMo et al. 2024 ("2 OLMo 2
// Furious") leave out such steps at six deviations; in 80 sound runs of ours the largest was 5.0.
class SpikeWatch {
 public:
  explicit SpikeWatch(double deviations) : deviations_(deviations) {}

  // What is wrong with a step of that loss and gradient norm, in a few words; nullopt: nothing. A step that is right
  // counts from then on among those that others are compared with, and so does one that is wrong but was `kept`.
  std::optional<std::string> judge(double loss, double gradient_norm);
  void keep(double loss);

  nlohmann::json state() const;  // the losses; a resumed run must judge as the whole one does
  void restore(const nlohmann::json& state);

 private:
  double deviations_;
  std::vector<double> recent_;  // the oldest first
};

}  // namespace switchyard
