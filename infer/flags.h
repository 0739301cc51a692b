// The command line of the programs. A configuration's visit() makes its flags, their --help and their errors; CLI11
// reads the line. For the programs' main.cpp alone: nobody else includes CLI11.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "moe/config_io.h"

namespace switchyard {

// Adds --name VALUE for each field; booleans take --name as well as --name=false. The values that the fields hold now
// are the defaults that --help shows. The fields are set by parse_flags(); an error there reads
// "--experts 0: must be 1 to 4096". A flag given twice: the last one counts.
// `group` is the heading that they stand under in --help.
void add_flags(CLI::App& app, std::span<const Field> fields, const std::string& group = "Options");
template <class Config>
void add_flags(CLI::App& app, Config& config, const std::string& group = "Options") {
  add_flags(app, std::span<const Field>(list_fields(config)), group);
}
// A flag of the program's own, `name` with or without its dashes, into a text or a list of texts, one for each time it
// is given.
CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::string& text, const std::string& help);
CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::optional<std::string>& text,
                           const std::string& help);
CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::vector<std::string>& texts,
                           const std::string& help);

// Where a model computes: --device; and in what: --compute (a run's TrainConfig has that itself).
struct Where {
  Device device = Device::cpu;
};
struct Placement : Where {
  Compute compute = Compute::f32;
};
template <class Config, class F>
requires std::is_base_of_v<Where, Config>
void visit(Config& c, F&& f) {
  f("device", c.device, "where to compute: cpu, or cuda for an NVIDIA GPU");
  if constexpr (std::is_base_of_v<Placement, Config>)
    f("compute", c.compute, "what activations are and matrices are multiplied in");
}
// The device to use: the one that is asked for or, where there is none, the CPU and a line on stderr that says why.
Device placed(Device device);

// Reads the command line. Error: a flag that does not exist ("--expert: no such flag; did you mean --experts?"), a
// command that does not, a value that is missing or wrong, a required flag that is missing. With --help: prints it and
// throws CLI::Success, which run_program() takes for a good end.
void parse_flags(CLI::App& app, int argc, const char* const* argv);

// The value of a flag that must be known before the others are read, such as --preset; both "--preset X" and
// "--preset=X", the last one if there are several. nullopt without it; Error if its value is missing.
std::optional<std::string> early_flag(int argc, const char* const* argv, std::string_view flag);

// Runs a program and gives its exit code: what `program` returns; 0 after --help; 2 for an Error or a file system's
// (what the user can put right) and 1 for any other exception, each with one line "error: …" on stderr.
int run_program(int argc, char** argv, const std::function<int(int argc, char** argv)>& program);

}  // namespace switchyard
