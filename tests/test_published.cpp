// The published models and their tiny siblings: counts against the model's own list, traits against the parent's,
// and that each sibling learns.
#include <map>
#include <set>

#include "moe/config_io.h"
#include "tests/moe_models.h"
#include "train/cost_table.h"
#include "train/data.h"
#include "train/optimizer.h"
#include "train/presets.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// Where a parameter's weights are counted, by its name.
int64_t& part_of(const std::string& name, ParameterCount& n) {
  const auto holds = [&](const char* part) { return name.find(part) != std::string::npos; };
  return name.starts_with("embedding") ? n.embedding
         : name.starts_with("head")    ? n.head
         : holds(".attention.")        ? n.attention
         : holds(".mlp.")              ? n.dense
         : holds(".moe.router")        ? n.router
         : holds(".moe.shared")        ? n.shared
         : holds(".moe.experts")       ? n.experts
                                       : n.norms;
}

std::vector<const Preset*> siblings() {
  std::vector<const Preset*> all;
  for (const Preset& preset : presets)
    if (preset.name.ends_with("-tiny")) all.push_back(&preset);
  return all;
}

const std::map<std::string_view, ModelConfig> parents = {{"gshard-tiny", gshard_600b.stack},
                                                         {"switch-base-tiny", switch_base(8).stack},
                                                         {"switch-c-tiny", switch_c.stack},
                                                         {"glam-tiny", glam_64b_64e},
                                                         {"st-moe-tiny", st_moe_32b.stack},
                                                         {"mixtral-tiny", mixtral_8x7b},
                                                         {"deepseek-moe-tiny", deepseek_moe_16b},
                                                         {"deepseek-v2-tiny", deepseek_v2},
                                                         {"deepseek-v2-lite-tiny", deepseek_v2_lite},
                                                         {"deepseek-v3-tiny", deepseek_v3},
                                                         {"olmoe-tiny", olmoe_1b_7b},
                                                         {"qwen1.5-moe-tiny", qwen15_moe_a27b},
                                                         {"qwen3-tiny", qwen3_30b_a3b}};

const char* const sizes[] = {"vocab",     "context",  "layers",      "width",       "heads",
                             "kv_heads",  "head_dim", "query_rank",  "latent_rank", "rope_dim",
                             "value_dim", "ffn",      "dense_ffn",   "shared_ffn",  "experts",
                             "top_k",     "groups",   "group_top_k", "first_dense", "capacity_groups"};

}  // namespace

TEST_SUITE_BEGIN("published");

TEST_CASE("every decoder is a configuration that makes sense; names are unique and found") {
  std::set<std::string_view> names;
  for (const Published& p : published_models) {
    INFO(p.name);
    CHECK(names.insert(p.name).second);
    CHECK(find_published(p.name) == &p);
    CHECK_FALSE(p.source.empty());
    CHECK_THROWS(find_preset(p.name));  // too large to be trained by accident
    if (p.kind == ModelKind::decoder) CHECK(error_of([&] { validate(p.config); }) == "no error");
    const ParameterCount &n = p.cost.model.parameters, &dense = p.cost.same_active.parameters,
                         &all = p.cost.same_total.parameters;
    CHECK(dense.total == dense.active);
    CHECK(all.total == all.active);
    CHECK(all.total == n.total - n.router - (p.config.shared_gate ? p.config.layers * p.config.width : 0));
    CHECK(dense.router == 0);
    CHECK(p.cost.model.cached_numbers == p.cost.same_total.cached_numbers);
  }
  CHECK(find_published("mixtral") == nullptr);
}

TEST_CASE("figures agree when they round, or are cut, to what is printed") {
  CHECK(agrees(46'749'999'999, {"46.7B", 46.7e9, 3}));
  CHECK_FALSE(agrees(46'750'000'000, {"46.7B", 46.7e9, 3}));
  CHECK(agrees(46'799'999'999, {"46.7B", 46.7e9, 3, true}));
  CHECK_FALSE(agrees(46'800'000'000, {"46.7B", 46.7e9, 3, true}));
  CHECK_FALSE(agrees(46'649'999'999, {"46.7B", 46.7e9, 3}));
  CHECK(agrees(9'960, {"10k", 10e3, 2}));
  CHECK(agrees(7, {}));  // nothing printed
}

TEST_CASE("numbers as people read them") {
  CHECK(with_commas(1'571'375'798'688) == "1,571,375,798,688");
  CHECK(with_commas(999) == "999");
  CHECK(short_number(46'702'792'704, "B") == "46.7B");
  CHECK(short_number(999'499) == "999k");
  CHECK(short_number(999'500) == "1.00M");
  CHECK(short_number(12) == "12");
  CHECK(short_number(1.5713e12) == "1.57T");
}

TEST_CASE("the parts of a sibling's count are what the model lists") {
  for (const Preset* preset : siblings()) {
    INFO(preset->name);
    Transformer model(preset->model);
    ParameterCount listed;
    model.visit([&](const std::string& name, Var& p) {  // a hash table or an expert's bias is state
      if (p.requires_grad()) part_of(name, listed) += p.value().count();
    });
    listed = added_up(listed, preset->model.experts, preset->model.top_k);
    const ParameterCount counted = count_parameters(preset->model);
    CHECK(listed.total == counted.total);
    CHECK(listed.active == counted.active);
    CHECK(listed.embedding == counted.embedding);
    CHECK(listed.head == counted.head);
    CHECK(listed.attention == counted.attention);
    CHECK(listed.dense == counted.dense);
    CHECK(listed.router == counted.router);
    CHECK(listed.shared == counted.shared);
    CHECK(listed.experts == counted.experts);
    CHECK(listed.norms == counted.norms);
  }
}

TEST_CASE("a sibling differs from its parent in sizes alone") {
  for (const auto& [name, parent] : parents) {
    INFO(name);
    const ModelConfig& child = find_preset(name).model;
    const nlohmann::json a = to_json(parent), b = to_json(child);
    for (const auto& [key, value] : a.items()) {
      INFO(key);
      const bool size = std::find(std::begin(sizes), std::end(sizes), key) != std::end(sizes);
      if (!size) CHECK(b[key] == value);
      if (size && key != "head_dim") CHECK(b[key].is_null() == value.is_null());
    }
    CHECK((child.kv_heads == child.heads) == (parent.kv_heads == parent.heads));
    CHECK((child.first_dense > 0) == (parent.first_dense > 0));
    CHECK((child.groups > 1) == (parent.groups > 1));
    CHECK((child.group_top_k < child.groups) == (parent.group_top_k < parent.groups));
    CHECK((child.capacity_groups > 1) == (parent.capacity_groups > 1));
    CHECK((child.top_k == 1) == (parent.top_k == 1));
    CHECK(child.top_k < child.experts);
    CHECK(total_params(child) < 2'000'000);
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow: siblings");

// Bytes, so that no tokenizer is to be trained.
TEST_CASE("every sibling learns in 200 steps, and each of its experts moves") {
  const Scratch scratch;
  const TrainConfig text{.tokenizer = TokenizerKind::bytes, .corpus_bytes = 300'000};
  const int64_t B = 8, T = 48;
  const Dataset data(Source{}, text, T, scratch.path);
  for (const Preset* preset : siblings()) {
    INFO(preset->name);
    ModelConfig c = preset->model;
    c.vocab = data.tokenizer().vocab_size(), c.context = int(T);
    Transformer model(c, 1);
    std::map<std::string, Numbers> before;
    model.visit([&](const std::string& name, Var& p) { before[name] = p.value().values(); });
    Optimizer optimizer(model, {.weight_decay = 0});  // or decay would move what no gradient does
    double first = 0, last = 0;
    for (int64_t step = 0; step < 200; ++step) {
      const Batch batch = data.batch(step, B, T, 1);
      const ForwardResult f = forward(model, batch.tokens, true, uint64_t(step));
      const Var loss = mean(cross_entropy(f.logits, batch.targets));
      Var total = loss;
      for (const AuxTerm& term : f.aux) total = add(total, scale(term.value, term.coefficient));
      REQUIRE(std::isfinite(total.value().item()));
      (step < 10 ? first : last) += step < 10 || step >= 190 ? loss.value().item() / 10 : 0;
      backward(total);
      model.visit([&](const std::string& name, Var& p) {
        INFO(name);
        if (!p.requires_grad()) return;
        REQUIRE(p.grad().defined());
        REQUIRE(std::isfinite(sum_squares(p.grad()).item()));
      });
      optimizer.step(3e-3, 1);
      std::vector<std::vector<int64_t>> load;
      for (const Route& route : f.routes) load.push_back(read(measure(route.plan, route.probability)).load);
      model.after_step(load);
    }
    CHECK(last < 0.7 * first);
    model.visit([&](const std::string& name, Var& p) {
      INFO(name);
      if (!p.requires_grad()) return;
      const Numbers now = p.value().values(), &old = before.at(name);
      const size_t parts = name.find(".experts.") == std::string::npos ? 1 : size_t(c.experts);
      const size_t size = now.size() / parts;
      for (size_t e = 0; e < parts; ++e) {
        INFO("expert ", e);
        CHECK_FALSE(std::equal(&now[e * size], &now[e * size] + size, &old[e * size]));
      }
    });
  }
}

TEST_SUITE_END();
