#include "moe/router.h"

namespace switchyard {

Var jittered(const RouterInput& input, double amount) {
  const Var x = cast(input.x, wide(input.x.dtype()));
  if (amount == 0 || !input.pass || !input.pass->training) return x;
  return jitter(x, amount, input.pass->key());
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
