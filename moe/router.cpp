#include "moe/router.h"

namespace switchyard {

Var jittered(const RouterInput& input, double jitter) {
  if (jitter == 0 || !input.pass || !input.pass->training) return input.x;
  const RandomKey key = input.pass->key();
  Tensor noise(input.x.shape(), input.x.dtype());
  with_float_type(noise.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < noise.count(); ++i)
      noise.data<T>()[i] = T(1 + jitter * (2.0 * uniform(key, static_cast<uint64_t>(i)) - 1));
  });
  return multiply(input.x, Var(noise));
}

std::unique_ptr<Router> make_router(const ModelConfig& config, Init& init) {
  validate(config);
  switch (config.router) {
    case RouterKind::topk:
      return make_topk_router(config, init);
    case RouterKind::switch_top1:
      return make_switch_router(config, init);
  }
  fail("router {}: no such router", static_cast<int>(config.router));
}

}  // namespace switchyard
