#include "train/view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace switchyard {
namespace {

// The terminal's second screen (DECSET 1049): the first one, with its history, stays as it is beneath.
constexpr std::string_view enter = "\033[?1049h\033[?25l", leave = "\033[?25h\033[?1049l";
std::atomic<bool> on_second_screen{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler touches it");

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
    if (n <= 0 && errno != EINTR) return;  // nobody looks any more; training goes on
  }
}

// Ctrl-Z: the shell gets its own screen back; the next frame after `fg` takes the second one again.
void on_suspend(int) {
  leave_live_view();
  std::signal(SIGTSTP, SIG_DFL);
  std::raise(SIGTSTP);
}
void on_continue(int) { std::signal(SIGTSTP, on_suspend); }

class LiveView : public View {
 public:
  LiveView() : colour_(std::getenv("NO_COLOR") == nullptr) {
    std::fflush(stdout);  // frames do not pass through its buffer
    std::signal(SIGTSTP, on_suspend);
    std::signal(SIGCONT, on_continue);
  }
  ~LiveView() override {
    leave_live_view();
    std::signal(SIGTSTP, SIG_DFL);
    std::signal(SIGCONT, SIG_DFL);
  }

  void line(const std::string& text) override {
    const bool was_on = on_second_screen.exchange(false);
    write_all((was_on ? std::string(leave) : "") + text + "\n");
    if (was_on) draw();  // a frame has been drawn, so there is a status
  }

  void status(const RunStatus& status, const std::string& text, bool log) override {
    status_ = &status;
    if (log) line(text);
    const Clock::time_point now = Clock::now();
    if (!log && on_second_screen && now - drawn_ < std::chrono::milliseconds(100) && status.step < status.steps) return;
    drawn_ = now;
    draw();
  }

 private:
  using Clock = std::chrono::steady_clock;

  // In one write, so that no half of a frame is ever seen. The size is asked for each time: it may have changed.
  void draw() {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    const int width = known ? size.ws_col : 80, height = known ? size.ws_row : 24;
    const pid_t foreground = ::tcgetpgrp(STDOUT_FILENO);
    if (foreground >= 0 && foreground != ::getpgrp()) return;  // in the background the terminal is somebody else's
    std::string text(on_second_screen.exchange(true) ? "" : enter);
    const std::vector<std::string> lines = live_frame(*status_, width, height, colour_);
    // A line is cleared before it is written: behind a full one the cursor still stands on its last character.
    text += "\033[H";
    for (size_t i = 0; i < lines.size(); ++i) text += (i ? "\r\n\033[K" : "\033[K") + lines[i];
    if (lines.size() < static_cast<size_t>(height)) text += "\r\n\033[J";
    write_all(text);
  }

  bool colour_;
  const RunStatus* status_ = nullptr;  // its owner outlives the view
  Clock::time_point drawn_;
};

class PlainView : public View {
 public:
  void line(const std::string& text) override {
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }
  void status(const RunStatus&, const std::string& text, bool log) override {
    if (log) line(text);
  }
};

class NoView : public View {
 public:
  void line(const std::string&) override {}
  void status(const RunStatus&, const std::string&, bool) override {}
};

}  // namespace

void leave_live_view() {
  if (on_second_screen.exchange(false)) write_all(leave);
}

std::unique_ptr<View> make_view(ViewKind kind) {
  if (kind == ViewKind::automatic) {
    const char* terminal = std::getenv("TERM");
    const bool moves = terminal != nullptr && *terminal != 0 && std::string_view(terminal) != "dumb";
    kind = isatty(STDOUT_FILENO) && moves ? ViewKind::live : ViewKind::plain;
  }
  if (kind == ViewKind::live) return std::make_unique<LiveView>();
  if (kind == ViewKind::plain) return std::make_unique<PlainView>();
  return std::make_unique<NoView>();
}

}  // namespace switchyard
