// The page of a run: what is read from a damaged or unfinished metrics.jsonl, how curves are thinned, ticks, escapes,
// charts, and what the words on top say.
#include <cmath>
#include <fstream>

#include "tests/scratch.h"
#include "train/page/chart.h"
#include "train/page/page.h"
#include "train/page/summary.h"

using namespace switchyard;
using namespace switchyard::page;

namespace {

size_t count(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

std::string step_line(int64_t step, const std::string& loss, const std::string& more = "") {
  return fmt::format(R"({{"step":{},"loss":{},"rate":0.1,"gradient_norm":2,"seconds":0.5{}}})", step, loss, more) +
         "\n";
}

Run run_of(const std::string& metrics) {
  Run run;
  run.name = "one";
  read_metrics(metrics, run);
  return run;
}

// A healthy mixture of two layers with four experts; `change` may spoil a step.
Run mixture(int64_t steps, const std::function<void(StepLine&)>& change) {
  Run run;
  run.name = "mixture";
  run.tokens_per_step = 100;
  for (int64_t i = 1; i <= steps; ++i) {
    StepLine s{.step = i, .loss = 1 + 4.0 / double(i), .gradient_norm = 0.5, .seconds = 0.1};
    s.load = {{50, 55, 45, 50}, {40, 60, 50, 50}};
    s.dropped = {0, 0}, s.entropy = {0.9, 1.0}, s.dead = {0, 0}, s.max_over_mean = {1.1, 1.2};
    change(s);
    run.steps.push_back(s);
  }
  return run;
}

bool says(const Run& run, const std::string& words) {
  for (const std::string& finding : summarise(run).findings)
    if (finding.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_SUITE("page") {
  TEST_CASE("page: a metrics file cut short in a line is read up to there") {
    const Run run = run_of(step_line(1, "5") + step_line(2, "4") + R"({"step":3,"loss":3.)");
    REQUIRE(run.steps.size() == 2);
    CHECK(run.steps[1].loss == 4);
    CHECK(run.unreadable == 1);
  }

  TEST_CASE("page: a loss of null is unknown, and kinds of lines from later versions do no harm") {
    const Run run = run_of(step_line(1, "5") + step_line(2, "null") +
                           R"({"step":2,"weather":"fine"})"
                           "\n[1,2]\n" +
                           R"({"step":"no number","loss":1})"
                           "\n");
    REQUIRE(run.steps.size() == 2);
    CHECK(std::isnan(run.steps[1].loss));
    CHECK(run.unreadable == 1);  // the list
  }

  TEST_CASE("page: steps that a resumed run did again count once, the later line") {
    const Run run = run_of(step_line(1, "5") + step_line(2, "4") + step_line(2, "3.5") + step_line(3, "3"));
    REQUIRE(run.steps.size() == 3);
    CHECK(run.steps[1].loss == 3.5);
  }

  TEST_CASE("page: a run that does not say how many tokens a step has tells it by its first step's speed") {
    CHECK(run_of(step_line(1, "5", R"(,"tokens_per_second":512.001)")).tokens_per_step == 256);
  }

  TEST_CASE("page: drops are read by layer or by layer and expert") {
    const Run run = run_of(step_line(1, "5", R"(,"dropped":[[1,2],[0,4]],"load":[[10,10],[10,10]])") +
                           step_line(2, "5", R"(,"dropped":[3,4],"load":[[10,10],[10,10]])"));
    for (const StepLine& s : run.steps) {
      CHECK(s.dropped == std::vector<double>{3, 4});
      CHECK(dropped_share(s) == doctest::Approx(7.0 / 40));
    }
  }

  TEST_CASE("page: the floor comes from the run's line, or else from an evaluation") {
    const std::string evaluation =
        R"({"step":1,"val_loss":2.0,"val_bits_per_byte":1.4426950408889634,"above_floor":0.6})";
    const Run without = run_of(step_line(1, "5") + evaluation + "\n");
    CHECK(without.floor == doctest::Approx(0.8));  // 1 nat per byte is 2 per token; 0.4 per byte is 0.8
    const Run with =
        run_of(R"({"step":0,"run":{"steps":9,"tokens_per_step":64,"bytes_per_token":3,"floor_nats_per_byte":0.2}})"
               "\n" +
               step_line(1, "5") + evaluation + "\n");
    CHECK(with.floor == doctest::Approx(0.6));
    CHECK(with.planned == 9);
    CHECK(places(with, Scale::tokens) == std::vector<double>{64});
    CHECK(places(with, Scale::flops).empty());  // nothing tells
  }

  TEST_CASE("page: the noise scale and the mean weights' loss are drawn where a run has them") {
    const std::string evaluation = R"({"step":2,"val_loss":2.0})"
                                   "\n";
    const auto text = [](const Run& run) { return report_page({run}, {Routes{.missing = "none"}}); };
    const Run without = run_of(step_line(1, "5") + step_line(2, "5") + evaluation);
    CHECK(count(text(without), "Noise scale") + count(text(without), "of the mean weights") == 0);
    const Run with = run_of(step_line(1, "5") + step_line(2, "5", R"(,"noise_scale":40)") + evaluation +
                            R"({"step":2,"average_val_loss":1.5})");
    CHECK(with.steps[1].noise_scale == 40);
    CHECK(with.evaluations[0].loss == 2);
    CHECK(with.evaluations[0].average_loss == 1.5);
    CHECK(count(text(with), "Noise scale") > 0);
    CHECK(count(text(with), "of the mean weights") > 0);
  }

  TEST_CASE("page: a domain of which no text was read is unknown") {
    const Run run =
        run_of(step_line(1, "5") + R"({"step":1,"val_loss":2.0,"val_bits_per_byte":1.4,"above_floor":0.6,)" +
               R"("domains":{"games":0.0,"letters":0.1,"stories":0.7}})"
               "\n");
    CHECK(std::isnan(run.evaluations[0].domains[0].second));
    CHECK(summarise(run).said.find("Nearest to it: letters (+0.100); farthest: stories (+0.700).") !=
          std::string::npos);
  }

  TEST_CASE("page: a folder without steps, and one without metrics, are refused in one line") {
    const Scratch scratch;
    CHECK(error_of([&] { read_run(scratch.path); }).find("no metrics.jsonl") != std::string::npos);
    std::ofstream(scratch.path / "metrics.jsonl") << "{\"step\":0,\"run\":{}}\n";
    CHECK(error_of([&] { read_run(scratch.path); }).find("no step yet") != std::string::npos);
  }

  TEST_CASE("page: a run before its first checkpoint is read, and says why it has no configuration") {
    const Scratch scratch;
    std::ofstream(scratch.path / "metrics.jsonl") << step_line(1, "5");
    const Run run = read_run(scratch.path);
    CHECK(!run.config);
    CHECK(run.config_missing.find("train.json") != std::string::npos);
    const Routes routes = route_texts(run);
    CHECK(routes.missing.find("no checkpoint yet") != std::string::npos);
    CHECK(report_page({run}, {routes}).find("no checkpoint yet") != std::string::npos);
  }

  TEST_CASE("page: thinning keeps means and extremes, and leaves out what is no number") {
    const std::vector<double> x{1, 2, 3, 4, 5, 6}, y{1, 5, unknown, 7, unknown, unknown};
    const Curve curve = thin(x, y, 3);
    REQUIRE(curve.size() == 3);
    CHECK(curve[0].x == 1.5);
    CHECK(curve[0].mean == 3);
    CHECK(curve[0].low == 1);
    CHECK(curve[0].high == 5);
    CHECK(curve[1].mean == 7);
    CHECK(std::isnan(curve[2].mean));
    CHECK(thin(x, y, 100).size() == 6);
    std::vector<double> many(10'007, 2.0);
    const Curve thinned = thin(many, many, 400);
    CHECK(thinned.size() == 400);
    for (const Point& p : thinned) CHECK(p.mean == 2);
  }

  TEST_CASE("page: ticks are round, span the values, and are few") {
    CHECK(ticks(0, 1000, 5) == std::vector<double>{0, 200, 400, 600, 800, 1000});
    for (double low : {-3.0, 0.0, 0.017, 1e6})
      for (double high : {0.02, 1.0, 987.0, 3.1e9}) {
        if (high <= low) continue;
        const std::vector<double> t = ticks(low, high, 5);
        CHECK(t.front() <= low + 1e-9 * high);
        CHECK(t.back() >= high * (1 - 1e-9));
        CHECK(t.size() >= 2);
        CHECK(t.size() <= 9);
      }
    for (double low : {1e-6, 0.3, 2.0})
      for (double span : {1.0, 1.5, 11.0, 1e3, 1e9}) {
        const std::vector<double> t = log_ticks(low, low * span);
        CHECK(t.front() <= low * 1.001);
        CHECK(t.back() >= low * span * 0.999);
        CHECK(t.size() >= 2);
        CHECK(t.size() <= 10);
        for (size_t i = 1; i < t.size(); ++i) CHECK(t[i] > t[i - 1]);
      }
  }

  TEST_CASE("page: numbers and times are short") {
    CHECK(short_text(1500) == "1.5k");
    CHECK(short_text(0.25) == "0.25");
    CHECK(short_text(-0.0) == "0");
    CHECK(short_text(2e15) == "2P");
    CHECK(short_text(unknown) == "not a number");
    CHECK(duration_text(91) == "1:31");
    CHECK(duration_text(7384) == "2:03:04");
  }

  TEST_CASE("page: text cannot leave its place, whatever it holds") {
    CHECK(html("</script><b a='\"'>&") == "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    CHECK(html("a\xffz") == "a\xef\xbf\xbdz");
    CHECK(html(std::string_view("\0\n", 2)) == "\xe2\x90\x80\n");
    Run run = run_of(step_line(1, "5") + R"({"step":1,"sample":"</script><img src=x onerror=alert(1)>"})"
                                         "\n");
    run.name = "<i>'\"";
    const std::string text = report_page({run}, {Routes{.missing = "<b>none</b>"}});
    CHECK(count(text, "</script>") == 1);  // the page's own
    CHECK(count(text, "<img") == 0);
    CHECK(count(text, "<i>'") == 0);
    CHECK(count(text, "<b>none") == 0);
    CHECK(count(text, "http:") + count(text, "https:") + count(text, "url(") + count(text, "@import") == 0);
  }

  TEST_CASE("page: a line chart breaks where values are missing and says what it shows") {
    const Curve curve{{1, 4, 3, 5}, {2, 2, 2, 2}, {3, unknown, unknown, unknown}, {4, 3, 3, 3}};
    const std::string svg = draw(LineChart{
        .title = "Loss & more", .x_title = "steps", .y_title = "nats", .series = {{"a", 0, curve}}, .log_y = true});
    CHECK(count(svg, "role=\"img\"") == 1);
    CHECK(count(svg, "aria-label=\"Loss &amp; more") == 1);
    CHECK(count(svg, "class=\"axis-x\"") == 1);
    CHECK(count(svg, "class=\"axis-y\"") == 1);
    CHECK(svg.find("from 4 to 3, between 2 and 4") != std::string::npos);
    CHECK(svg.find("data-values=\"1,4,3,5 2,2 4,3\"") != std::string::npos);
    const size_t path = svg.find("class=\"curve\" d=\"");
    REQUIRE(path != std::string::npos);
    const std::string drawn = svg.substr(path, svg.find("/>", path) - path);
    CHECK(count(drawn, "M") == 2);      // two pieces
    CHECK(count(svg, "<circle") == 1);  // the second is one point, which no line shows
    CHECK(draw(LineChart{.series = {{"a", 0, {{1, unknown, unknown, unknown}}}}}).empty());
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
  }

  TEST_CASE("page: the colour of a cell is how far it is from its fair part") {
    const double times[] = {0, 0.1, 0.3, 0.7, 1, 1.5, 3, 5};
    for (int level = 0; level < fair_levels; ++level) CHECK(fair_level(times[level]) == level);
    const std::string svg = draw(
        HeatMap{.title = "Load", .x_title = "steps", .y_title = "expert", .rows = {{1, 1}, {0, 2.5}}, .x = {1, 2}});
    CHECK(svg.find("data-cells=\"2s2s 006y\"") != std::string::npos);  // 100 is 2s in base 36, 250 is 6y
    CHECK(count(svg, "class=\"h0\"") == 1);
    CHECK(count(svg, "class=\"h6\"") == 1);
    CHECK(svg.find("expert 1 is the busiest with 2.5 times") != std::string::npos);
  }

  TEST_CASE("page: the words on top name what is wrong, and only that") {
    CHECK(summarise(mixture(100, [](StepLine&) {})).findings.empty());
    const auto at_end = [](auto&& spoil) {
      return mixture(100, [spoil](StepLine& s) {
        if (s.step > 50) spoil(s);
      });
    };
    CHECK(says(at_end([](StepLine& s) { s.loss = unknown; }),
               "not a number in 50 of the steps, first at step 51: the run diverged."));
    CHECK(says(mixture(100, [](StepLine& s) { s.loss = s.step == 30 ? unknown : s.loss; }),
               "not a number in 1 of the steps, first at step 30."));
    CHECK(says(at_end([](StepLine& s) { s.loss = 3; }), "The training loss rose"));
    CHECK(says(at_end([](StepLine& s) { s.loss *= s.step % 20 ? 1 : 2; }),
               "jumped by more than half in 3 of the steps, "
               "first at step 60"));
    CHECK(says(at_end([](StepLine& s) {
                 s.load[1] = {0, 100, 100, 0};
               }),
               "2 of 4 experts of layer 1 got no token in the last tenth: 0 and 3."));
    CHECK(says(at_end([](StepLine& s) { s.load[0] = {1, 99, 50, 50}; }), "less than a tenth of an even part: 0."));
    CHECK(says(at_end([](StepLine& s) { s.load[0] = {170, 10, 10, 10}; }), "busiest expert of layer 0 gets 3.4 times"));
    CHECK(says(at_end([](StepLine& s) { s.dropped = {40, 40}; }), "20.0 % of the proposals"));
    CHECK(says(at_end([](StepLine& s) { s.entropy[1] = std::log(4.0); }), "routing of layer 1 hardly"));
    CHECK(says(mixture(100, [](StepLine& s) { s.loss = 7 - 0.01 * double(s.step); }), "from 6.99 to 6.045 only"));
    CHECK(!says(mixture(100, [](StepLine& s) { s.loss = s.step < 20 ? 7 : 6; }), "only, and was still falling"));
    CHECK(says(at_end([](StepLine& s) { s.entropy = {0.1, 0.2}; }), "routing of layers 0 and 1 leaves no doubt"));
    CHECK(says(mixture(100, [](StepLine& s) { s.loss = s.step == 5 ? 9 : 5; }), "where it began, to 9 at step 5"));
    Run tuned = mixture(100, [](StepLine& s) { s.loss = s.step == 5 ? 1.4 : 1; });
    CHECK(says(tuned, "where it began, to 1.4 at step 5"));
    tuned.config = RunConfig{};  // it knew something already, and is nowhere near the log of the vocabulary
    tuned.config->model.vocab = 5;
    CHECK(!says(tuned, "where it began"));
    tuned.config->model.vocab = 3;
    CHECK(says(tuned, "where it began"));
    Run run = mixture(100, [](StepLine&) {});
    run.floor = 1.2;
    CHECK(says(run, "lies below the floor, 1.2"));
    run.floor = unknown;
    run.evaluations = {{.step = 50, .loss = 1.05}, {.step = 100, .loss = 1.4}};
    CHECK(says(run, "best at step 50 (1.05) and is 1.4 now"));
    CHECK(says(run, "Validation loss 1.4 against training loss"));
    run.evaluations = {{.step = 100, .loss = 1.05, .above_floor = -0.05}};
    CHECK(says(run, "0.05 nats per byte below the floor"));
    run.config = RunConfig{};
    run.config->model.balance = 2;
    for (StepLine& s : run.steps) s.aux = {{"z", 9}, {"balance", 1.5}}, s.loss = 1.5;
    CHECK(says(run, "balance loss, weighted, is 2.0 times the loss"));
    run.config->model.balance = 0.01;
    CHECK(!says(run, "balance loss, weighted"));
    run.config->train.clip = 0.4;
    CHECK(says(run, "cut down to --clip in 100 % of the steps"));
  }

  TEST_CASE("page: several runs share charts, what differs stands in a table, and the bytes are always the same") {
    Run a = mixture(30, [](StepLine&) {}), b = mixture(20, [](StepLine&) {});
    a.name = "first", b.name = "second";
    a.config = b.config = RunConfig{};
    b.config->train.rate = 0.02;
    b.config->model.experts = 16;
    const std::string differences = differences_table({a, b});
    CHECK(count(differences, "<tr>") == 3);  // the head and two fields
    CHECK(differences.find(">rate<") != std::string::npos);
    CHECK(differences.find(">16<") != std::string::npos);
    CHECK(differences_table({a, a}).empty());
    const std::vector<Routes> routes(2, Routes{.missing = "none"});
    const std::string text = report_page({a, b}, routes);
    CHECK(text == report_page({a, b}, routes));
    const size_t chart = text.find("aria-label=\"Training loss");
    REQUIRE(chart != std::string::npos);
    const std::string svg = text.substr(chart, text.find("</figure>", chart) - chart);
    CHECK(count(svg, "data-name=\"first\"") == 1);
    CHECK(count(svg, "data-name=\"second\"") == 1);
  }

  TEST_CASE("page: three long runs of a large mixture stay under 2 MB") {
    std::vector<Run> runs(3, mixture(5000, [](StepLine& s) {
                            const auto wave = [&](int64_t k) { return float((s.step * 7919 + k * 104729) % 1000); };
                            s.loss += wave(1) / 1000, s.gradient_norm = 1 + wave(2), s.rate = wave(3);
                            s.load.assign(8, {});
                            for (size_t layer = 0; layer < 8; ++layer)
                              for (int64_t e = 0; e < 16; ++e) s.load[layer].push_back(wave(e * 8 + int64_t(layer)));
                            s.aux = {{"balance", wave(4)}, {"z", wave(5)}};
                          }));
    CHECK(report_page(runs, std::vector<Routes>(3, Routes{.missing = "none"})).size() < 1'400'000);
  }
}
