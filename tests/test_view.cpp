// What the live view shows: it fits in any terminal, what matters most comes first, and no text can garble it.
#include <doctest/doctest.h>
#include "nn/utf8.h"
#include "tensor/machine.h"
#include "train/view.h"

using namespace switchyard;

namespace {

// Columns of a line: its characters, without the colours.
int columns(const std::string& line) {
  int n = 0;
  for (size_t at = 0; at < line.size();) {
    if (line[at] == '\033') {
      at = line.find('m', at) + 1;
      continue;
    }
    const Utf8Char c = read_utf8(line, at);
    REQUIRE(c.status == Utf8Char::valid);
    CHECK(c.code >= 0x20);
    n += c.code >= 0x4e00 && c.code <= 0x9fff ? 2 : 1;  // 漢字 take two
    at += size_t(c.length);
  }
  return n;
}

RunStatus status_of(int layers, int experts) {
  RunStatus s{.title = "runs/demo  4.4M parameters", .step = 450, .steps = 1000, .seconds = 41, .seconds_left = 3700};
  s.loss = 1.25, s.floor = 0.5, s.above_floor = 0.21, s.evaluation = "at step 250: validation loss 1.2";
  for (int i = 0; i < 450; ++i) s.losses.push_back(7.0 / (1 + 0.1 * i));
  s.tokens_per_second = 22'900, s.of_limit = 0.67, s.gradient_norm = 1.5, s.clip = 1, s.rate = 1e-3;
  s.aux = {{"balance", 1.01}, {"z", 0.5}};
  for (int l = 0; l < layers; ++l) {
    RouteStats layer{.max_over_mean = 1.5, .dead = 1};
    for (int e = 0; e < experts; ++e) layer.load.push_back(e), layer.dropped.push_back(0);
    s.layers.push_back(layer);
  }
  s.sample_step = 250, s.sample = printable("One day \x1b[2J 漢字漢字 in Kestrel.\nThe end. " + std::string(300, 'x'));
  return s;
}

bool shows(const std::vector<std::string>& lines, const std::string& text) {
  for (const std::string& line : lines)
    if (line.find(text) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("view: a frame fits in a terminal of any size") {
  for (const auto& [layers, experts] : {std::pair(0, 0), {3, 8}, {48, 256}})
    for (int width : {1, 2, 7, 20, 21, 39, 40, 79, 80, 200, 500})
      for (int height : {1, 2, 5, 10, 24, 30, 41, 60})
        for (bool colour : {false, true}) {
          const std::vector<std::string> lines = live_frame(status_of(layers, experts), width, height, colour);
          CHECK(lines.size() >= 1);
          CHECK(lines.size() <= size_t(height));
          for (const std::string& line : lines) CHECK(columns(line) <= width);
        }
}

TEST_CASE("view: a frame shows what a run is about") {
  const std::vector<std::string> lines = live_frame(status_of(3, 8), 80, 24, false);
  for (const char* text :
       {"runs/demo", " 45 %  step 450/1000  0:41 gone, 1:01:40 left", "loss        1.2500   floor 0.5000 (+0.210",
        "at step 250: validation loss", "22.9k tokens/s, 67 % of this machine", "norm 1.5, clipped to 1   rate 0.001",
        "balance 1.01 z 0.5", "layer 1", "layer 3", "1.50", "sample at step 250", "One day ␛[2J 漢字漢字 in Kestrel."})
    CHECK_MESSAGE(shows(lines, text), text);
  CHECK(!shows(lines, "\033"));
  // The curve falls: its first column is full, its last the lowest bar.
  CHECK(shows(live_frame(status_of(3, 8), 80, 40, false), "            █"));

  RunStatus bare{.title = "a", .step = 0, .steps = 0};
  bare.losses = {std::nan(""), 1, std::nan("")};
  CHECK(live_frame(bare, 80, 24, true).size() >= 4);

  const std::vector<std::string> many = live_frame(status_of(48, 256), 80, 24, false);
  CHECK(shows(many, "layer 1 "));
  CHECK(shows(many, "layers more"));
  CHECK(shows(many, "sample at step"));  // it keeps its place
}

TEST_CASE("view: loads as bars") {
  CHECK(load_bars({1, 1, 1, 1}) == "▄▄▄▄");
  CHECK(load_bars({0, 2, 0, 2}) == "·█·█");
  CHECK(load_bars({}) == "");
  CHECK(load_bars({0, 0}) == "··");
  CHECK(load_bars({0, 2, 0, 2}, 2) == "▄▄");  // each bar the mean of two neighbours
  CHECK(load_bars({4, 4, 0, 0, 0, 0}, 3) == "█··");
}

TEST_CASE("view: text is made printable") {
  CHECK(printable("a\tb\x1b[0m\x7f\n") == "a␉b␛[0m␡\n");
  CHECK(printable("\xc2\x9b\xff\xe6\xbc") == "���");  // a control of Latin-1, no UTF-8, and half a character
  CHECK(printable("漢字 é") == "漢字 é");
}

TEST_CASE("view: times and sizes") {
  CHECK(minutes(0) == "0:00");
  CHECK(minutes(59.6) == "1:00");
  CHECK(minutes(3600) == "1:00:00");
  CHECK(thousands(9999) == "9999");
  CHECK(thousands(22'900) == "22.9k");
  CHECK(thousands(4.4e6) == "4.4M");
}

TEST_CASE("machine: memory and speed are measured") {
  CHECK(memory_available() > 0);
  CHECK(memory_now() > 0);
  CHECK(memory_peak() >= memory_now() / 2);
  CHECK(measure_flops(0.001) > 1e8);
  CHECK(measure_bytes(0.001) > 1e8);
}
