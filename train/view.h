// How a run looks while it trains: on a terminal one live view that fills the screen, elsewhere plain lines.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/balance.h"

namespace switchyard {

// What the live view shows of a run.
struct RunStatus {
  std::string title;  // the folder, the model's size, the machine
  int64_t step = 0, steps = 0;
  double seconds = 0, seconds_left = 0;
  double loss = 0;                    // smoothed, nats per token
  std::optional<double> floor;        // nats per token
  std::optional<double> above_floor;  // nats per byte
  std::vector<double> losses;         // smoothed, of all steps so far or of equal parts of them
  std::string evaluation;             // the last one, a line
  double tokens_per_second = 0;
  double of_limit = 0;  // the share of the machine's multiply-adds that the model's are; 0: not known
  double gradient_norm = 0, clip = 0, rate = 0;
  double noise_scale = 0;  // sequences; 0: not known
  std::vector<std::pair<std::string, double>> aux;
  std::vector<RouteStats> layers;
  int64_t sample_step = 0;
  std::string sample;  // printable()
};

// The live view: at most `height` lines, none wider than `width` columns. What matters most comes first, and what does
// not fit is left out. `colour`: loads are coloured by how far they are from even.
std::vector<std::string> live_frame(const RunStatus& status, int width, int height, bool colour);

class View {
 public:
  virtual ~View() = default;
  // A text that stays: on a terminal it goes to the history above, as if there were no live view.
  virtual void line(const std::string& text) = 0;
  // After each step; `text` is the step as a line, to be kept if `log`. The view goes on reading `status`, which must
  // outlive it.
  virtual void status(const RunStatus& status, const std::string& text, bool log) = 0;
};

enum class ViewKind : uint8_t { automatic, live, plain, none };
template <>
struct EnumNames<ViewKind> {
  static constexpr std::string_view names[] = {"auto", "live", "plain", "none"};
};
// automatic: live if standard output is a terminal that can move its cursor (TERM is set and not "dumb").
std::unique_ptr<View> make_view(ViewKind kind);

// Leaves the live view, if one is on, at once: for a signal handler, before the process ends.
void leave_live_view();

// Load of each expert as a small bar, the even share at half height: ▃▅▂▄. At most `width` bars: above that each
// stands for the mean of several neighbours.
std::string load_bars(const std::vector<int64_t>& load, int width = 1 << 20);

// The text as it may be shown on any terminal: control characters but the line's end as pictures (␛), broken UTF-8 as
// �.
std::string printable(std::string_view text);

// 1:05, or 2:00:07 with hours.
std::string minutes(double seconds);
// 1234, 22.9k, 4.4M
std::string thousands(double x);

}  // namespace switchyard
