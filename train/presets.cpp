#include "train/presets.h"

#include <string>
#include <vector>

#include "moe/config_io.h"

namespace switchyard {

const Preset& find_preset(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : presets) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  fail("--preset {}: no such preset; did you mean {}?", name, nearest(name, names));
}

}  // namespace switchyard
