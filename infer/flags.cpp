#include "infer/flags.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>

namespace switchyard {
namespace {

// A flag that takes one value each time it is given. CLI11 only cuts the line into pieces; `set` reads them, all of
// one flag at once.
CLI::Option* add_flag(CLI::App& app, const std::string& name, const std::string& help,
                      std::function<void(const std::vector<std::string>&)> set) {
  CLI::Option* option = app.add_option(
      name,
      [set = std::move(set)](const CLI::results_t& values) {
        set(values);
        return true;
      },
      help);
  return option->option_text("VALUE")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

// The command that was given, or the program itself.
CLI::App& command_of(CLI::App& app) {
  const std::vector<CLI::App*> given = app.get_subcommands();
  return given.empty() ? app : *given[0];
}

[[noreturn]] void fail_unknown(CLI::App& app, std::string word) {
  std::vector<std::string> known;
  if (word.starts_with("-")) {
    word = word.substr(0, word.find('='));
    for (const CLI::Option* option : command_of(app).get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    fail("{}: no such flag; did you mean {}?", word, nearest(word, known));
  }
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  if (&command_of(app) == &app && !known.empty())
    fail("{}: no such command; did you mean {}?", word, nearest(word, known));
  fail("{}: belongs to no flag; a flag begins with -- and takes one value", word);
}

}  // namespace

void add_flags(CLI::App& app, std::span<const Field> fields, const std::string& group) {
  for (const Field& field : fields) {
    const std::string help = fmt::format("{} ({}; default {})", field.help, field.takes, value_text(field.get()));
    const auto set = [field](const std::vector<std::string>& values) {
      field.parse(values.back(), fmt::format("--{} ", field.name));
    };
    CLI::Option* option = add_flag(app, "--" + field.name, help, set)->group(group);
    if (field.boolean) option->expected(0)->option_text("[=VALUE]");
  }
}

CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::string& text, const std::string& help) {
  return add_flag(app, name, help, [&text](const std::vector<std::string>& values) { text = values.back(); });
}
CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::optional<std::string>& text,
                           const std::string& help) {
  return add_flag(app, name, help, [&text](const std::vector<std::string>& values) { text = values.back(); });
}
CLI::Option* add_text_flag(CLI::App& app, const std::string& name, std::vector<std::string>& texts,
                           const std::string& help) {
  return add_flag(app, name, help, [&texts](const std::vector<std::string>& values) { texts = values; });
}

void parse_flags(CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    // CLI11 would take the next word for the value of "--prompt=".
    const bool empty_value = word.starts_with("--") && word.find('=') == word.size() - 1;
    words.push_back(empty_value ? word.substr(0, word.size() - 1) : word);
    if (empty_value) words.emplace_back();
  }
  std::reverse(words.begin(), words.end());  // so CLI11 wants them
  if (app.get_name().empty() && argc > 0) app.name(argv[0]);
  for (CLI::Option* option : app.get_options())  // CLI11's own way is an error
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw && option->get_items_expected_max() == 1)
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  try {
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", command_of(app).help());
    throw;
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();  // "--experts: 1 required  missing"
    fail("{}: needs a value", text.substr(0, text.find(':')));
  } catch (const CLI::ConversionError& error) {
    const std::string text = error.what();  // "Could not convert: --threads = x"
    const size_t colon = text.find(": "), equals = text.find(" = ");
    if (colon == std::string::npos || equals == std::string::npos) fail("{}", text);
    fail("{} {}: must be a number", text.substr(colon + 2, equals - colon - 2), text.substr(equals + 3));
  } catch (const CLI::Success&) {
    throw;
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining(true);
    if (!unknown.empty()) fail_unknown(app, unknown[0]);
    const bool has_commands = !app.get_subcommands({}).empty();
    if (has_commands && &command_of(app) == &app && dynamic_cast<const CLI::RequiredError*>(&error))
      fail("no command; {} --help lists them", app.get_name());
    fail("{}", error.what());
  }
}

std::optional<std::string> early_flag(int argc, const char* const* argv, std::string_view flag) {
  std::optional<std::string> value;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == flag) {
      check(i + 1 < argc, "{}: needs a value", flag);
      value = argv[++i];
    } else if (word.starts_with(flag) && word.substr(flag.size()).starts_with("=")) {
      value = word.substr(flag.size() + 1);
    }
  }
  return value;
}

Device placed(Device device) {
  try {
    check_available(device);
  } catch (const Error& error) {
    fmt::print(stderr, "{}; computing on the CPU\n", error.what());
    device = Device::cpu;
  }
  return device;
}

int run_program(int argc, char** argv, const std::function<int(int, char**)>& program) {
  const auto report = [](const char* message, int code) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", message);
    return code;
  };
  try {
    const int code = program(argc, argv);
    if (std::fflush(stdout) != 0) return report(fmt::format("stdout: {}", std::strerror(errno)).c_str(), 1);
    return code;
  } catch (const CLI::Success&) {
    return 0;
  } catch (const Error& error) {
    return report(error.what(), 2);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(fmt::format("{}: {}", error.path1().string(), error.code().message()).c_str(), 2);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

}  // namespace switchyard
