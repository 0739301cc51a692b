// The experiments' framework on runs of four steps, and what the experiments measure with.
#include <cmath>
#include <set>

#include "moe/size.h"
#include "tests/gradients.h"
#include "tests/moe_models.h"
#include "tests/scratch.h"
#include "train/distill.h"
#include "train/knowledge.h"
#include "train/reproduce/experiment.h"
#include "train/specialisation.h"

using namespace switchyard;
using namespace switchyard::test;
namespace rp = switchyard::reproduce;

namespace {

double rate = 1e-3;            // of the tiny experiment
int measured = 0, passes = 0;  // runs finished, passes of the second variant
std::atomic<bool> stop_now{false};
int stop_at = -1;  // the pass after which to stop

// A term that changes nothing; it is there to interrupt a run in its middle.
AuxTerm interrupt(const Batch&, const Var&) {
  if (++passes == stop_at) stop_now = true;
  return {"nothing", Var(Tensor::zeros({1}, Dtype::f32)), 0};
}

std::vector<Variant> tiny_variants(bool) {
  const TrainConfig train{.merged_vocab = 300,
                          .corpus_bytes = 40'000,
                          .people = 10,
                          .domain = Domain::biographies,
                          .steps = 4,
                          .batch = 2,
                          .rate = rate,
                          .warmup = 1,
                          .eval_every = 2,
                          .eval_tokens = 200};
  ModelConfig model = tiny();
  model.expert_dropout = 0.1;  // random numbers too must go on where they were
  std::vector<Variant> all(3);
  all[0] = {.label = "topk", .config = {.source = {}, .model = model, .train = train}};
  model.router = "switch", model.top_k = 1, model.gate_norm = GateNorm::none;
  all[1] = {.label = "Switch, k=1", .config = {.source = {}, .model = model, .train = train}};
  all[1].config.beside = interrupt;
  all[2] = all[0];
  all[2].label = "topk, on", all[2].after = "topk";
  all[2].prepare = [](RunConfig config, const std::filesystem::path& before) {
    config.start = before;
    return config;
  };
  return all;
}

const rp::Experiment tiny_experiment{.name = "tiny",
                                     .question = "?",
                                     .paper = "none",
                                     .minutes = 0,
                                     .quick_minutes = 0,
                                     .variants = tiny_variants,
                                     .columns = {{"max/mean", "max_over_mean", 3}},
                                     .paper_title = "nats",
                                     .paper_numbers = {{"topk", "1.5"}},
                                     .measure = [](Trainer&, const Variant&, Outcome&) { ++measured; }};

std::optional<Results> run_tiny(const std::filesystem::path& out) {
  const rp::Options options{.quick = true, .seeds = 3, .out = out, .quiet = true};
  std::optional<Results> results = rp::run_experiment(tiny_experiment, options, stop_now);
  if (!results) return results;
  for (Outcome& o : results->outcomes) {  // the clock alone may differ
    o.number.erase("seconds"), o.number.erase("tokens_per_second");
    o.curve.erase("seconds");
  }
  return results;
}

}  // namespace

TEST_SUITE_BEGIN("reproduce");

TEST_CASE("an interrupted experiment goes on to the same table; finished runs are read, changed ones done again") {
  const Scratch whole, parts;
  measured = passes = 0, stop_at = -1, stop_now = false, rate = 1e-3;
  const std::optional<Results> expected = run_tiny(whole.path);
  REQUIRE(expected);
  CHECK(measured == 9);
  const std::string table = rp::table(tiny_experiment, *expected);
  INFO(table);
  CHECK(table.find("±") != std::string::npos);
  CHECK(table.find("paper: nats") != std::string::npos);

  measured = passes = 0, stop_at = 6;  // in the second seed, after two of four steps
  CHECK(!run_tiny(parts.path));
  CHECK(measured == 4);
  stop_now = false, stop_at = -1;
  const std::optional<Results> resumed = run_tiny(parts.path);
  REQUIRE(resumed);
  CHECK(measured == 9);
  CHECK(passes == 12);  // no step was done twice
  CHECK(rp::table(tiny_experiment, *resumed) == table);
  CHECK(rp::record(tiny_experiment, *resumed, {}) == rp::record(tiny_experiment, *expected, {}));

  CHECK(run_tiny(parts.path));
  CHECK(measured == 9);  // all were read
  rate = 2e-3;
  const std::optional<Results> changed = run_tiny(parts.path);
  REQUIRE(changed);
  CHECK(measured == 18);
  CHECK(rp::table(tiny_experiment, *changed) != table);
}

TEST_CASE("a run that needs another begins with its weights and its tokenizer") {
  const Scratch dir;
  measured = passes = 0, stop_at = -1, stop_now = false, rate = 0;  // nothing is learnt
  const std::optional<Results> results = run_tiny(dir.path);
  REQUIRE(results);
  const auto text = [&](const char* file) { return read_file(dir.path / "tiny" / file); };
  CHECK(text("topk-1/tokenizer.json") == text("topk-on-1/tokenizer.json"));
  CHECK(text("topk-2/model.safetensors") == text("topk-on-2/model.safetensors"));
  CHECK(text("topk-1/model.safetensors") != text("topk-2/model.safetensors"));
}

TEST_CASE("mean and deviation over the seeds, absent numbers left out") {
  Results r;
  r.variants = {"a", "b"};
  for (double x : {1.0, 2.0, 6.0}) r.outcomes.push_back({.variant = "a", .seed = 1, .number = {{"loss", x}}});
  r.outcomes.push_back(
      {.variant = "b", .seed = 1, .number = {{"diverged", 1}, {"seconds", 5}}, .curve = {{"each step: z", {9}}}});
  CHECK(r.number("b", "seconds").count == 0);  // what a run had until it diverged is no result
  CHECK(r.number("b", "diverged").count == 1);
  CHECK(r.curve("b", "each step: z").empty());
  CHECK(r.mean("a", "loss") == doctest::Approx(3));
  CHECK(r.number("a", "loss").deviation == doctest::Approx(std::sqrt(7.0)));
  CHECK(r.number("b", "loss").count == 0);
  const std::string table = rp::table(tiny_experiment, r);
  CHECK(table.find("3.0000 ± 2.6458") != std::string::npos);
  CHECK(table.find("diverged") != std::string::npos);
  CHECK(slug("Switch, k=1.25!") == "switch-k-1.25");
}

TEST_CASE("every experiment is whole: variants that can be built, in an order that they can be trained in") {
  for (const rp::Experiment* e : rp::experiments())
    for (bool quick : {true, false}) {
      INFO(e->name);
      CHECK(e->minutes <= 8);
      CHECK(e->quick_minutes <= 1.5);
      std::set<std::string> labels, slugs;
      for (const Variant& v : e->variants(quick)) {
        INFO(v.label);
        CHECK(error_of([&] { validate(v.config.model); }) == "no error");
        CHECK((v.after.empty() || labels.contains(v.after)));
        CHECK(v.after.empty() == (v.prepare == nullptr));
        CHECK(labels.insert(v.label).second);
        CHECK(slugs.insert(slug(v.label)).second);
      }
      for (const auto& [label, said] : e->paper_numbers) CHECK(labels.contains(label));
    }
  CHECK(error_of([] { rp::find_experiment("colapse"); }) ==
        "reproduce colapse: no such experiment; did you mean collapse?");
}

TEST_CASE("a corpus of one domain holds no other") {
  TrainConfig c{.domain = Domain::games};
  for (uint64_t i = 0; i < 50; ++i) CHECK(built_in_corpus(c).document(i).domain == Domain::games);
  c.domain.reset();
  std::set<Domain> seen;
  for (uint64_t i = 0; i < 200; ++i) seen.insert(built_in_corpus(c).document(i).domain);
  CHECK(seen.size() == size_t(domain_count));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("specialisation");

TEST_CASE("mutual information: nothing where expert and kind are independent, all where one tells the other") {
  CHECK(mutual_information({{2, 4, 6}, {1, 2, 3}}) == doctest::Approx(0));
  CHECK(mutual_information({{5, 0}, {0, 5}}) == doctest::Approx(1));
  CHECK(mutual_information({{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}) == doctest::Approx(2));
  // p(d, e) = {1/2, 0; 1/4, 1/4}: H(e) - H(e | d) = H(3/4) - 1/2
  const double entropy = -0.75 * std::log2(0.75) - 0.25 * std::log2(0.25);
  CHECK(mutual_information({{2, 0}, {1, 1}}) == doctest::Approx(entropy - 0.5));
}

TEST_CASE("dealing anew keeps what is independent and takes away what is not") {
  LayerVisits layer;
  std::vector<Domain> domain;
  Random random{{3, 3}};
  for (int d = 0; d < 400; ++d) {  // documents of two domains; expert 0 serves the first, mostly
    domain.push_back(d % 2 ? Domain::games : Domain::stories);
    const int64_t mostly = 40 + random.below(10);
    layer.document.push_back(d % 2 ? std::vector<int64_t>{50 - mostly, mostly}
                                   : std::vector<int64_t>{mostly, 50 - mostly});
  }
  layer.token = {{900, 100}, {100, 900}, {0, 0}};
  const double real = mutual_information(by_domain(layer, domain));
  CHECK(real > 0.4);
  CHECK(shuffled_domain_information(layer, domain, 1) < 0.01);
  CHECK(shuffled_domain_information(layer, domain, 1) == shuffled_domain_information(layer, domain, 1));
  CHECK(mutual_information(layer.token) > 0.5);
  CHECK(shuffled_token_information(layer, 1) < 0.01);
}

TEST_CASE("visits are those of the plan: k for every token that is no padding") {
  ModelConfig c = tiny();
  const Tokenizer tokenizer = Tokenizer::bytes();
  c.vocab = tokenizer.vocab_size();
  Transformer model = lively_model(c);
  const Corpus corpus;
  const Specialisation s = collect_visits(model, tokenizer, corpus, 0, 20);
  REQUIRE(s.layers.size() == 2);
  REQUIRE(s.domain.size() == 20);
  for (const LayerVisits& layer : s.layers) {
    int64_t by_token = 0;
    for (const auto& row : layer.token)
      for (int64_t n : row) by_token += n;
    int64_t by_document = 0;
    for (size_t d = 0; d < 20; ++d) {
      CHECK(s.domain[d] == corpus.document(d).domain);
      const int64_t tokens = std::min<int64_t>(c.context, 1 + int64_t(corpus.document(d).text.size()));
      int64_t visits = 0;
      for (int64_t n : layer.document[d]) visits += n;
      CHECK(visits == 2 * tokens);
      by_document += visits;
    }
    CHECK(by_token == by_document);
    CHECK(layer.token[size_t(tokenizer.end_id())][0] + layer.token[size_t(tokenizer.end_id())][1] +
              layer.token[size_t(tokenizer.end_id())][2] + layer.token[size_t(tokenizer.end_id())][3] ==
          40);
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("distill");

TEST_CASE("soft cross-entropy is the plain loop, and with one target's probability 1 the hard one") {
  const Var logits = normal_leaf({3, 5}, 1, 2);
  const Tensor q = softmax(normal_leaf({3, 5}, 2)).value();
  const Numbers l = logits.value().values(), p = q.values(), got = soft_cross_entropy(logits, q).value().values();
  for (size_t r = 0; r < 3; ++r) {
    double sum = 0, expected = 0;
    for (size_t v = 0; v < 5; ++v) sum += std::exp(l[5 * r + v]);
    for (size_t v = 0; v < 5; ++v) expected -= p[5 * r + v] * std::log(std::exp(l[5 * r + v]) / sum);
    CHECK(got[r] == doctest::Approx(expected).epsilon(1e-12));
  }
  const Tensor one = Tensor::from(Numbers{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0}, {3, 5}, Dtype::f64);
  const std::vector<int32_t> target{1, 4, 0};
  CHECK(close(soft_cross_entropy(logits, one).value().values(),
              cross_entropy(logits, Tensor::from(target, {3})).value().values(), 1e-12));
}

TEST_CASE("soft cross-entropy's gradient is softmax less the teacher's probabilities") {
  const Var logits = normal_leaf({4, 6}, 3, 1.5);
  const Tensor q = softmax(normal_leaf({4, 6}, 4)).value();
  backward(sum(soft_cross_entropy(logits, q)));
  const Numbers p = softmax(Var(logits.value())).value().values(), wanted = q.values();
  Numbers expected(p.size());
  for (size_t i = 0; i < p.size(); ++i) expected[i] = p[i] - wanted[i];
  CHECK(close(logits.grad().values(), expected, 1e-12));
  const auto f = [&](const std::vector<Var>& in) { return weighted_loss(soft_cross_entropy(in[0], q)); };
  CHECK(gradcheck(f, {normal_leaf({4, 6}, 3, 1.5)}) < 1e-7);
}

TEST_CASE("an upcycled mixture computes what its dense model does") {
  ModelConfig c = tiny();
  c.experts = c.top_k = 1, c.gate_norm = GateNorm::none;
  Transformer dense = lively_model(c, Dtype::f64);
  c.experts = 4, c.top_k = 2, c.gate_norm = GateNorm::sum_to_one;
  Transformer mixture = upcycled(dense, c, 7);
  const Tensor tokens = random_tokens(3, 20, c.vocab);
  CHECK(close(mixture(tokens).logits.value().values(), dense(tokens).logits.value().values(), 1e-12));
  c.ffn *= 2;
  CHECK(error_of([&] { upcycled(dense, c, 7); }).find("layers.0.moe.experts.in") == 0);
}

TEST_CASE("common weights: all but experts, routers and MLPs") {
  ModelConfig c = tiny();
  Transformer mixture = lively_model(c);
  const ModelConfig plain = dense_twin(c);
  Transformer dense(plain, 3), before(plain, 3);
  const int64_t copied = copy_common_weights(mixture, dense);
  int64_t mlps = 0;
  dense.visit([&](const std::string& name, Var& p) {
    const bool own = name.find(".mlp.") != std::string::npos;
    const Numbers expected = parameter(own ? before : mixture, name).value().values();
    CHECK(p.value().values() == expected);
    mlps += own ? p.value().count() : 0;
  });
  CHECK(copied == total_params(plain) - mlps);
  Transformer other(plain, 4);
  CHECK(copy_common_weights(other, dense, ".mlp.") == copied);  // of a dense model too
  CHECK(parameter(dense, "layers.0.mlp.in.weight").value().values() !=
        parameter(other, "layers.0.mlp.in.weight").value().values());
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("knowledge");

TEST_CASE("a model that knows nothing pays for every token of an answer, and probes ask for the answers alone") {
  const Tokenizer tokenizer = Tokenizer::bytes();
  ModelConfig c = tiny();
  c.vocab = tokenizer.vocab_size(), c.context = 128;
  Transformer model(c, 1);
  model.visit([](const std::string& name, Var& p) {
    if (name.starts_with("head")) p.set_value(Tensor::zeros(p.shape(), p.dtype()));
  });
  const std::vector<Probe> facts = fact_probes(1, 6);
  REQUIRE(facts.size() == 18);
  double bytes = 0, bits = 0;
  for (const Probe& p : facts) bytes += double(p.last - p.first), bits += p.bits;
  const Answers answers = ask(model, tokenizer, facts);
  CHECK(answers.asked == 18);
  CHECK(answers.right == 0);
  CHECK(answers.bits == doctest::Approx(bytes * std::log2(c.vocab)).epsilon(1e-5));
  CHECK(answers.unknown == doctest::Approx(bits));
  CHECK(bits == doctest::Approx(6 * 21));
  const Probe& born = facts[0];
  CHECK(born.text.substr(born.first, born.last - born.first).size() == 4);  // a year
  CHECK(questions(1, 10, true).size() == 14);
  CHECK(questions(1, 10, false).size() == 56);
}

TEST_SUITE_END();
