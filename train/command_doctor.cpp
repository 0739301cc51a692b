// ./run doctor: the machine and the build, and what is odd about them.
#include <nlohmann/json.hpp>

#include "train/command_flags.h"
#include "train/commands.h"
#include "train/doctor.h"

namespace switchyard {

int run_doctor(int argc, char** argv) {
  CLI::App app("Checks the machine and the build, measures both for a second, and says what is odd.");
  Common common;
  add_common(app, common);
  parse_flags(app, argc, argv);
  apply(common);
  const MachineFacts facts = examine();
  const std::vector<Finding> findings = diagnose(facts);
  int odd = 0;
  for (const Finding& f : findings) odd += !f.advice.empty();
  if (common.json) {
    nlohmann::json json{{"isa", facts.isa},
                        {"threads", facts.threads},
                        {"flops", facts.flops},
                        {"bytes", facts.bytes},
                        {"odd", nlohmann::json::array()}};
    for (const Finding& f : findings)
      if (!f.advice.empty()) json["odd"].push_back({{"what", f.what}, {"advice", f.advice}});
    fmt::print("{}\n", json.dump());
    return 0;
  }
  for (const Finding& f : findings) {
    fmt::print("{}  {}\n", f.advice.empty() ? "   " : "odd", f.what);
    if (!f.advice.empty()) fmt::print("     {:14}{}\n", "", f.advice);
  }
  fmt::print("\n{}\n", odd == 0   ? "nothing is odd"
                       : odd == 1 ? "one thing is odd"
                                  : fmt::format("{} things are odd", odd));
  return 0;
}

}  // namespace switchyard
