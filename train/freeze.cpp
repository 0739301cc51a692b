#include "train/freeze.h"

#include <algorithm>

namespace switchyard {
namespace {

// Of a parameter's name as Transformer::visit() gives it.
struct Part {
  std::string_view name;
  std::vector<std::string_view> within;
};
const Part parts_of_a_model[] = {{"router", {".moe.router"}},    {"experts", {".moe.experts", ".moe.shared"}},
                                 {"attention", {".attention."}}, {"mlp", {".mlp."}},
                                 {"norms", {"norm."}},           {"embedding", {"embedding.", "head."}}};

const Part& find_part(const std::string& name) {
  for (const Part& part : parts_of_a_model)
    if (part.name == name) return part;
  fail("--freeze {}: must be router, experts, attention, mlp, norms or embedding", name);
}

bool holds_any(const std::string& text, const std::vector<std::string_view>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return text.find(part) != std::string::npos; });
}

}  // namespace

Transformer& frozen(Transformer& model, const std::vector<std::string>& parts) {
  if (model.config().adapters.any())
    model.visit([](const std::string& parameter, Var& p) {
      if (parameter.find(".adapter.") == std::string::npos) p = Var(p.value(), false);
    });
  for (const std::string& name : parts) {
    const Part& part = find_part(name);
    bool found = false;
    //@begin freeze
    model.visit([&](const std::string& parameter, Var& p) {
      const bool within = holds_any(parameter, part.within);
      if (!within) return;
      p = Var(p.value(), false);
      found = true;
    });
    //@end freeze
    check(found, "--freeze {}: this model has no such part", name);
  }
  check(parts.empty() || trained_parameters(model) > 0, "--freeze: nothing is left to train");
  return model;
}

int64_t trained_parameters(Transformer& model) {
  int64_t count = 0;
  model.visit([&](const std::string&, Var& p) { count += p.requires_grad() ? p.value().count() : 0; });
  return count;
}

}  // namespace switchyard
