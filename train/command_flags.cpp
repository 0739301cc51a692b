#include "train/command_flags.h"

#include <csignal>
#include <cstdlib>

#include "tensor/device.h"
#include "train/run_folder.h"

namespace switchyard {
namespace {

std::atomic<bool> stop{false};

void on_interrupt(int) {
  if (!stop.exchange(true)) return;
  leave_live_view();
  std::_Exit(130);  // a second Ctrl-C does not wait for the step to end
}

}  // namespace

void add_common(CLI::App& app, Common& common) {
  app.add_option("--threads", common.threads, "CPU threads; default: all that this process may use");
  app.add_flag("--pin", common.pin, "tie each thread to a CPU of its own: for a machine that runs nothing else");
  app.add_flag("--json", common.json, "print one line of JSON at the end, and nothing else on standard output");
}

void apply(const Common& common) {
  if (common.threads != 0) set_threads(common.threads);
  if (common.pin) pin_threads(true);
}

void check_output(const std::filesystem::path& file) {
  if (file.empty()) return;
  check_no_part_of_run(file);
  check(!std::filesystem::is_directory(file), "{}: is a folder; must be a file", file.string());
  const std::filesystem::path dir = std::filesystem::absolute(file).parent_path();
  check(std::filesystem::is_directory(dir), "{}: there is no folder {}", file.string(), dir.string());
}

const std::atomic<bool>& interruptible() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  return stop;
}

}  // namespace switchyard
