#include "train/page/text_routes.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "moe/checkpoint.h"

namespace switchyard::page {
namespace {

constexpr int64_t documents_for_domains = 256;
constexpr int64_t visits_shown = 24'000;  // of all texts and layers together: what a page can carry

// The longest beginning that the model can read at once and the page can carry.
std::vector<int32_t> beginning(const Tokenizer& tokenizer, const std::string& text, int64_t tokens) {
  std::vector<int32_t> ids{tokenizer.end_id()};
  tokenizer.encode(text, ids);
  ids.resize(static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(ids.size()), tokens)));
  return ids;
}

RoutedText routed(Transformer& model, const Tokenizer& tokenizer, std::string title, const std::vector<int32_t>& ids) {
  const NoGrad no_grad;
  const ForwardResult f = model(Tensor::from(ids, {1, static_cast<int64_t>(ids.size())}));
  RoutedText text{std::move(title), {}};
  for (int32_t id : ids) text.tokens.push_back({std::string(tokenizer.bytes_of(id)), {}});
  for (RoutedToken& token : text.tokens) token.layers.resize(f.routes.size());
  for (size_t layer = 0; layer < f.routes.size(); ++layer) {
    const RoutingPlan& plan = f.routes[layer].plan;
    const std::vector<int32_t> expert = plan.slot_expert();
    const std::vector<double> gate = plan.gate.value().values();
    for (size_t s = 0; s < expert.size(); ++s) {
      const auto t = static_cast<size_t>(plan.slot_token.data<int32_t>()[s]);
      text.tokens[t].layers[layer].emplace_back(expert[s], gate[s]);
    }
    for (RoutedToken& token : text.tokens)
      std::stable_sort(token.layers[layer].begin(), token.layers[layer].end(),
                       [](const auto& a, const auto& b) { return a.second > b.second; });
  }
  text.tokens.erase(text.tokens.begin());  // the separator before the text
  return text;
}

// A title and a text each.
std::vector<std::pair<std::string, std::string>> texts_of(const Run& run) {
  if (!run.config->source.built_in()) {
    check(!run.samples.empty(), "no sample has been written yet");
    return {{fmt::format("the sample at step {}", run.samples.back().step), run.samples.back().text}};
  }
  std::vector<std::pair<std::string, std::string>> texts;
  const Corpus corpus = built_in_corpus(run.config->train);
  std::array<std::string, domain_count> first;
  for (uint64_t d = 0; d < 200; ++d) {
    const Document document = corpus.document(first_validation_document + d);
    std::string& text = first[static_cast<size_t>(document.domain)];
    if (text.empty()) text = document.text;
  }
  for (int d = 0; d < domain_count; ++d)
    if (!first[static_cast<size_t>(d)].empty())
      texts.emplace_back(name(static_cast<Domain>(d)), first[static_cast<size_t>(d)]);
  return texts;
}

std::vector<DomainVisits> visits_by_domain(Transformer& model, const Tokenizer& tokenizer, const TrainConfig& train) {
  const Specialisation seen =
      collect_visits(model, tokenizer, built_in_corpus(train), first_validation_document, documents_for_domains);
  std::vector<DomainVisits> result;
  for (const LayerVisits& layer : seen.layers) {
    DomainVisits d{.visits = by_domain(layer, seen.domain)};
    d.bits = mutual_information(d.visits);
    d.chance = shuffled_domain_information(layer, seen.domain, 1);
    result.push_back(std::move(d));
  }
  return result;
}

// A model that diverged holds what is no number, and a router's choice among those says nothing.
void check_weights(Transformer& model) {
  model.visit([](const std::string& name, Var& parameter) {
    for (double w : parameter.value().values())
      if (!std::isfinite(w)) fail("its weights are no numbers ({})", name);
  });
}

int64_t checkpoint_step(const Run& run) {
  const nlohmann::json state = nlohmann::json::parse(read_file(run.dir / "train.json"), nullptr, false);
  return state.is_object() ? state.value("step", int64_t{0}) : 0;
}

void fill(const Run& run, Routes& routes) {
  check(run.config.has_value(), "no checkpoint yet ({})", run.config_missing);
  const ModelConfig& config = run.config->model;
  check(!config.dense(), "a dense model: every token takes the same way");
  routes.step = checkpoint_step(run);
  Transformer model = load_model(run.dir);
  check_weights(model);
  const Tokenizer tokenizer = Tokenizer::load(run.dir / "tokenizer.json");
  const auto texts = texts_of(run);
  int64_t layers = 0;
  for (int i = 0; i < config.layers; ++i) layers += config.has_experts(i);
  check(layers > 0, "none of its layers has experts");
  const int64_t room = visits_shown / (layers * config.top_k * static_cast<int64_t>(texts.size()));
  const int64_t tokens = std::min<int64_t>(config.context, std::clamp<int64_t>(room, 24, 320));
  for (const auto& [title, text] : texts)
    routes.texts.push_back(routed(model, tokenizer, title, beginning(tokenizer, text, tokens)));
  routes.experts = config.experts, routes.layers = layers;
  if (run.config->source.built_in()) routes.domains = visits_by_domain(model, tokenizer, run.config->train);
}

}  // namespace

Routes route_texts(const Run& run) {
  Routes routes;
  try {
    fill(run, routes);
  } catch (const Error& error) {
    routes = {.missing = error.what()};
  }
  return routes;
}

}  // namespace switchyard::page
