// switchyard-infer: generates text from a checkpoint.
#include <atomic>
#include <csignal>

#include "infer/flags.h"
#include "infer/generate.h"
#include "moe/checkpoint.h"
#include "tensor/file.h"

namespace switchyard {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

// The first Ctrl-C ends the text after the current token; the second ends the program.
void stop_on_interrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

struct Options {
  std::string model;
  std::optional<std::string> prompt, prompt_file;
  GenerateConfig generate;
  Placement place;
  int threads = switchyard::threads();
  bool pin = false, json = false;
};

// The program's own flags, listed as in any configuration.
template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, Options>
void visit(Config& c, F&& f) {
  f("threads", c.threads, 1, 1024, "threads to compute with; the text is the same for any number");
  f("pin", c.pin, "tie each thread to a CPU of its own: for a machine that runs nothing else");
  f("json", c.json, "end stdout with one line of JSON: text, tokens, tokens_per_second, and why it ended");
}

std::string_view name(StopReason reason) {
  constexpr std::string_view names[] = {"end_token", "stop_string", "max_tokens", "cancelled"};
  return names[static_cast<size_t>(reason)];
}

std::string read_prompt(const Options& options) {
  check(!options.prompt || !options.prompt_file, "--prompt-file {}: must not stand beside --prompt",
        options.prompt_file.value_or(""));
  return options.prompt_file ? read_file(*options.prompt_file) : options.prompt.value_or("");
}

// The text goes to stdout as it is made, everything else to stderr.
int run_generate(const Options& options) {
  check(!options.model.empty(), "--model: is missing; must be a directory with a config.json");
  set_threads(options.threads);
  if (options.pin) pin_threads(true);
  const std::string prompt = read_prompt(options);
  const Device device = placed(options.place.device);
  Transformer model = load_model(options.model, dtype_of(options.place.compute), device);
  narrow_weights(model);
  const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(options.model) / "tokenizer.json");
  stop_on_interrupt();
  const Generated made = generate(model, tokenizer, prompt, options.generate, [](std::string_view text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  });
  fmt::print("\n");
  if (options.json) {
    const nlohmann::json line = {{"text", made.text},
                                 {"tokens", made.tokens},
                                 {"tokens_per_second", made.tokens_per_second},
                                 {"prompt_tokens", made.prompt_tokens},
                                 {"prompt_seconds", made.prompt_seconds},
                                 {"stopped_by", name(made.reason)}};
    fmt::print("{}\n", line.dump());
  }
  fmt::print(stderr, "{} tokens after {} of the prompt, {:.1f} a second; the prompt took {:.3f} s; ended by {}\n",
             made.tokens, made.prompt_tokens, made.tokens_per_second, made.prompt_seconds, name(made.reason));
  return made.reason == StopReason::cancelled ? 128 + SIGINT : 0;  // as shells report a Ctrl-C
}

int run(int argc, char** argv) {
  Options options;
  options.generate.cancel = &interrupted;
  CLI::App app("Text from a mixture-of-experts model", "switchyard-infer");
  app.require_subcommand(1);
  CLI::App* command = app.add_subcommand("generate", "continue a prompt");
  add_text_flag(*command, "--model", options.model, "directory of the checkpoint");
  add_text_flag(*command, "--prompt", options.prompt, "text to continue; none: the model starts a document");
  add_text_flag(*command, "--prompt-file", options.prompt_file, "file that holds the prompt, taken as it is");
  add_text_flag(*command, "--stop", options.generate.stop, "end the text before this; may be given several times");
  add_flags(*command, options.generate);
  add_flags(*command, options.place);
  add_flags(*command, options);
  parse_flags(app, argc, argv);
  return run_generate(options);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) { return switchyard::run_program(argc, argv, switchyard::run); }
