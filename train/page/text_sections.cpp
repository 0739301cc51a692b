// The parts of the page that show text, and where it goes.
#include <algorithm>

#include "train/page/chart.h"
#include "train/page/sections.h"

namespace switchyard::page {
namespace {

constexpr size_t samples_shown = 12;

std::string title_of(const Run& run, size_t r, const Runs& runs) {
  return runs.size() == 1 ? "" : fmt::format(R"(<h3><i class="swatch s{}"></i>{}</h3>)", r, html(run.name)) + "\n";
}

// Evenly chosen, the first and the last among them.
std::vector<TextLine> spread(const std::vector<TextLine>& all, size_t most) {
  if (all.size() <= most) return all;
  std::vector<TextLine> chosen;
  for (size_t i = 0; i < most; ++i) chosen.push_back(all[i * (all.size() - 1) / (most - 1)]);
  return chosen;
}

// "3 0.62,1 0.38|5 1": the visits of one token, layer by layer.
std::string coded(const RoutedToken& token) {
  std::string text;
  for (const auto& layer : token.layers) {
    if (&layer != &token.layers[0]) text += '|';
    for (const auto& visit : layer)
      text += fmt::format("{}{} {:.2f}", &visit == &layer[0] ? "" : ",", visit.first, visit.second);
  }
  return text;
}

std::string routed_text(const RoutedText& text) {
  std::string out = fmt::format("<section><h3>{}</h3><p class=\"text\">", html(text.title));
  for (const RoutedToken& token : text.tokens) {
    const auto& first = token.layers[0];
    out += fmt::format(R"(<span class="token{}" data-routes="{}">{}</span>)",
                       first.empty() ? "" : fmt::format(" e{}", first[0].first), coded(token), html(token.bytes));
  }
  return out + "</p></section>\n";
}

// A colour for each expert: Okabe and Ito's first, then hues that lie far apart.
std::string expert_colours(int64_t experts) {
  static constexpr const char* first[] = {"230 159 0", "86 180 233", "0 158 115",   "240 228 66",
                                          "0 114 178", "213 94 0",   "204 121 167", "128 128 128"};
  std::string out = "<style>";
  for (int64_t e = 0; e < experts; ++e)
    out += e < 8 ? fmt::format(".e{}{{background:rgb({} / .42)}}", e, first[e])
                 : fmt::format(".e{}{{background:hsl({:.0f} 65% 50% / .42)}}", e, double(e * 1375 % 3600) / 10);
  return out + "</style>\n";
}

std::string layer_choice(const Routes& routes, size_t r) {
  std::string out;
  for (int64_t layer = 0; layer < routes.layers; ++layer)
    out += fmt::format(R"(<input class="choice" type="radio" name="layer-{0}" id="layer-{0}-{1}" data-layer="{1}"{2}>)"
                       R"(<label for="layer-{0}-{1}">layer {1}</label>)",
                       r, layer, layer == 0 ? " checked" : "");
  out += "<div class=\"experts\"><span>experts:</span>";
  for (int64_t e = 0; e < routes.experts; ++e) out += fmt::format(R"(<span class="e{0}">{0}</span>)", e);
  return out + "</div>\n";
}

std::string matrix(const Run& run, size_t layer, const DomainVisits& d) {
  Matrix m{.title = fmt::format("Layer {}: {}", layer, run.name),
           .x_title = "expert",
           .y_title = fmt::format("percent of a domain's visits; {:.3f} bits, by chance {:.3f}", d.bits, d.chance),
           .rows = {},
           .times = {},
           .texts = {}};
  const size_t experts = d.visits[0].size();
  std::vector<double> share(experts);
  double all = 0;
  for (const auto& row : d.visits)
    for (size_t e = 0; e < experts; ++e) share[e] += double(row[e]), all += double(row[e]);
  for (size_t k = 0; k < d.visits.size(); ++k) {
    double visits = 0;
    for (int64_t v : d.visits[k]) visits += double(v);
    if (visits == 0) continue;
    m.rows.emplace_back(name(static_cast<Domain>(k)));
    m.times.emplace_back(), m.texts.emplace_back();
    for (size_t e = 0; e < experts; ++e) {
      const double part = double(d.visits[k][e]) / visits;
      m.times.back().push_back(share[e] > 0 ? part * all / share[e] : 0);
      m.texts.back().push_back(fmt::format("{:.0f}", 100 * part));
    }
  }
  return m.rows.empty() ? "" : draw(m);
}

}  // namespace

std::string events_section(const Runs& runs) {
  std::string out;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (runs[r].events.empty() && runs[r].unreadable == 0) continue;
    out += title_of(runs[r], r, runs) + "<ul>";
    for (const TextLine& e : spread(runs[r].events, 50))
      out += fmt::format("<li>step {}: {}</li>", e.step, html(e.text));
    if (runs[r].unreadable > 0)
      out += fmt::format("<li>{} of the lines of metrics.jsonl could not be read: cut short, perhaps by a kill</li>",
                         runs[r].unreadable);
    out += "</ul>\n";
  }
  return out.empty() ? "" : "<h2>What happened</h2>\n" + out;
}

std::string samples_section(const Runs& runs) {
  std::string out;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (runs[r].samples.empty()) continue;
    out += title_of(runs[r], r, runs);
    for (const TextLine& s : spread(runs[r].samples, samples_shown))
      out += fmt::format("<details{}><summary>step {}</summary><p class=\"sample\">{}</p></details>\n",
                         s.step == runs[r].samples.back().step ? " open" : "", s.step, html(s.text));
  }
  return out.empty() ? "" : "<h2>Samples</h2>\n<p class=\"lead\">What the model wrote while it learnt.</p>\n" + out;
}

std::string texts_section(const Runs& runs, const std::vector<Routes>& routes) {
  std::string out =
      "<h2>Tokens by expert</h2>\n<p class=\"lead\">Unseen text, each token in the colour of the expert with its "
      "largest "
      "gate. Hover or tap: every layer's experts and gates.</p>\n";
  int64_t experts = 0;
  for (const Routes& r : routes) experts = std::max(experts, r.experts);
  out += expert_colours(experts);
  for (size_t r = 0; r < runs.size(); ++r) {
    out += title_of(runs[r], r, runs);
    if (!routes[r].missing.empty()) {
      out += fmt::format("<p>Nothing to show: {}.</p>\n", html(routes[r].missing));
      continue;
    }
    out += fmt::format("<div><p>The checkpoint of step {}.</p>", routes[r].step) + layer_choice(routes[r], r);
    out += "<div class=\"grid texts\">";
    for (const RoutedText& text : routes[r].texts) out += routed_text(text);
    out += "</div></div>\n";
  }
  return out;
}

std::string domains_section(const Runs& runs, const std::vector<Routes>& routes) {
  std::string out;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (routes[r].domains.empty()) continue;
    out += title_of(runs[r], r, runs) + "<div class=\"grid\">\n";
    for (size_t layer = 0; layer < routes[r].domains.size(); ++layer)
      out += "<figure>" + matrix(runs[r], layer, routes[r].domains[layer]) + "</figure>\n";
    out += "</div>\n";
  }
  if (out.empty()) return "";
  return "<h2>Domains and experts</h2>\n<p class=\"lead\">Where the tokens of each domain go. The colour compares with "
         "chance: with where all tokens go. Above the matrix: how many bits an expert tells of the domain, and how "
         "many "
         "it would tell if the domains were dealt out anew.</p>\n" +
         out;
}

}  // namespace switchyard::page
