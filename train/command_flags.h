// What the commands' flags have in common. For the programs' main.cpp and the commands that read their own flags.
#pragma once
#include <atomic>

#include "infer/flags.h"
#include "train/view.h"

namespace switchyard {

// What every command takes.
struct Common {
  int threads = 0;
  bool pin = false, json = false;
};
void add_common(CLI::App& app, Common& common);
void apply(const Common& common);

// What every training takes.
struct Shown {
  ViewKind view = ViewKind::automatic;
};
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, Shown>
void visit(Config& c, F&& f) {
  f("view", c.view, "progress on the terminal: live fills the screen, plain prints lines; auto: live on a terminal");
}

// Error, before any work, if a file of that name cannot be written or is a part of a run. "": no file is asked for.
void check_output(const std::filesystem::path& file);

// What becomes true when the user wants the command to save and end: Ctrl-C or SIGTERM. A second Ctrl-C does not wait.
const std::atomic<bool>& interruptible();

}  // namespace switchyard
