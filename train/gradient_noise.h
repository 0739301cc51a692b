// How noisy a step's gradient is, and so how large a batch is worth its work (McCandlish et al. 2018, "An empirical
// model of large-batch training", section 2.2 and appendix A).
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace switchyard {

// From the norms of a gradient of few sequences and of one of many, the squared norm of the true gradient and the trace
// of a sequence's covariance are estimated without bias (equations A.2 and A.3) and averaged over the steps; their
// quotient is the simple noise scale. Batches far below it are mostly noise, and the loss falls nearly as fast per
// sequence as it can; batches far above it hardly help.
class GradientNoise {
 public:
  // Norms of mean gradients, of `few` < `many` sequences. Numbers that are not finite are left out.
  void add(double norm_few, int64_t few, double norm_many, int64_t many);
  // In sequences; 0 until there is a sensible estimate (the true gradient's may come out negative at first).
  double scale() const;

  nlohmann::json state() const;  // the means; a resumed run must estimate as the whole one does
  void restore(const nlohmann::json& state);

 private:
  double squared_norm_ = 0, trace_ = 0, weight_ = 0;  // exponential means, and what their weights sum to
};

}  // namespace switchyard
