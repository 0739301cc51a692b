// How fast the GPU's kernels are: the time of each, and its share of what the device can do, which is measured first.
// Then whole training steps and generation.
//   ./run bench device [--quick] [--only REGEX] [--json FILE]
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "moe/size.h"
#include "tests/bench/cublas.h"
#include "tests/bench/device_steps.h"

namespace switchyard::bench {
namespace {

struct Options {
  std::string only = ".", json, commit, worker;
  bool quick = false, tiny = false, list = false;
  int64_t batch = 0;
};

// Dense rates of the data sheets in TFLOP/s, bf16 with f32 sums and f32 without tensor cores; the first name that the
// device's contains counts.
struct DataSheet {
  const char* name;
  double bf16, f32;
};
constexpr DataSheet data_sheets[] = {
    {"H200", 989, 67},   {"GH200", 989, 67},  {"H100 PCIe", 756, 51}, {"H100 NVL", 835, 60},   {"H100", 989, 67},
    {"A100", 312, 19.5}, {"L40S", 362, 91.6}, {"L4", 121, 30.3},      {"RTX 4090", 165, 82.6}, {"RTX 3090", 71, 35.6}};

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// What the device can do, measured, in flop/s and bytes/s.
struct Ceilings {
  double bandwidth = 0;
  std::map<Dtype, double> arithmetic;
  double of(const Group& group) const { return group.bound == Bound::memory ? bandwidth : arithmetic.at(group.dtype); }
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    sizes_.scale = options.tiny ? Scale::tiny : options.quick ? Scale::quick : Scale::full;
    const gpu::DeviceInfo device = gpu::device_info();
    char date[32];
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
    const Cublas* cublas = Cublas::find();
    record_ = {{"device", device.name},
               {"capability", device.capability},
               {"memory", device.memory},
               {"multiprocessors", device.multiprocessors},
               {"l2", device.l2},
               {"driver", device.driver},
               {"toolkit", toolkit_version()},
               {"cublas", cublas ? cublas->version() : "none"},
               {"commit", options.commit},
               {"date", date},
               {"sizes", options.tiny    ? "tiny"
                         : options.quick ? "quick"
                                         : "full"}};
    fmt::print("{}, compute capability {}.{}, driver for CUDA {}, runtime {}, cuBLAS {}\n", device.name,
               device.capability / 10, device.capability % 10, device.driver, toolkit_version(),
               cublas ? cublas->version() : "none");
  }

  void run();
  void work();
  void list() const {
    for (const Section& section : sections()) fmt::print("{}\n", section.id);
    fmt::print("step-bf16\nstep-f32\n");
  }

 private:
  std::vector<Section> sections() const;
  bool wanted(const std::string& id) const { return std::regex_search(id, std::regex(options_.only)); }
  int rounds() const { return static_cast<int>(sizes_.pick(1, 5, 15)); }
  void measure_ceilings();
  void measure_product(Dtype dtype);
  void measure(const Section& section);
  void report(const Group& group, const Case& one, double ours, double theirs);
  void measure_steps(Dtype dtype);
  void save() const;

  Options options_;
  Sizes sizes_;
  DeviceTimer timer_;
  Ceilings ceilings_;
  nlohmann::json record_;
};

std::vector<Section> Bench::sections() const {
  std::vector<Section> all;
  for (auto part : {matrix_sections, attention_sections, routing_sections, row_sections})
    for (Section& section : part(sizes_)) all.push_back(std::move(section));
  return all;
}

// The device's own copy, and the best product of cuBLAS, or without it of ours.
void Bench::measure_ceilings() {
  const auto n = static_cast<size_t>(sizes_.pick(1 << 12, int64_t{1} << 30, int64_t{1} << 31));
  const Array<char> from(static_cast<int64_t>(n)), to(static_cast<int64_t>(n));
  gpu::fill_bytes(from, 1, n);
  std::vector<double> copies, nothing;
  for (int i = 0; i < rounds() + 1; ++i) {
    copies.push_back(timer_.sample([&] { gpu::copy_on_device(to, from, n); }));
    nothing.push_back(timer_.sample([] {}));
  }
  ceilings_.bandwidth = 2e3 * double(n) / median(copies);
  for (Dtype dtype : {Dtype::bf16, Dtype::f32}) measure_product(dtype);
  const double bf16_rate = ceilings_.arithmetic[Dtype::bf16], f32_rate = ceilings_.arithmetic[Dtype::f32];
  fmt::print(
      "copies {:.0f} GB/s (read and written); products bf16 {:.1f}, f32 {:.1f} TFLOP/s ({}); "
      "{:.1f} us between two events with nothing between them\n",
      ceilings_.bandwidth / 1e9, bf16_rate / 1e12, f32_rate / 1e12, Cublas::find() ? "cuBLAS" : "ours",
      1e3 * median(nothing));
  record_["ceilings"] = {{"copy_gb_s", ceilings_.bandwidth / 1e9},
                         {"bf16_tflop_s", bf16_rate / 1e12},
                         {"f32_tflop_s", f32_rate / 1e12},
                         {"empty_us", 1e3 * median(nothing)}};
}

void Bench::measure_product(Dtype dtype) {
  with_float_type(dtype, [&]<class T>() {
    if constexpr (!std::is_same_v<T, double>) {
      const int64_t n = sizes_.pick(64, sizeof(T) == 2 ? 8192 : 4096, sizeof(T) == 2 ? 8192 : 4096);
      const Array<T> a = random_array<T>(n * n, 1), b = random_array<T>(n * n, 2), c(n * n);
      std::vector<double> times;
      for (int i = 0; i < rounds() + 1; ++i)
        times.push_back(timer_.sample(
            [&] {
              if (const Cublas* cublas = Cublas::find())
                cublas->gemm(false, true, n, n, n, a.operator T*(), b.operator T*(), c.operator T*());
              else
                gpu::table<T>().gemm(false, true, n, n, n, a, b, false, c);
            },
            2));
      ceilings_.arithmetic[dtype] = 2e3 * double(n) * double(n) * double(n) / median(times);
    }
  });
}

void Bench::report(const Group& group, const Case& one, double ours, double theirs) {
  const bool memory = group.bound == Bound::memory;
  const double rate = 1e3 * (memory ? one.bytes : one.flops) / ours, share = rate / ceilings_.of(group);
  fmt::print("{:58} {:>10.1f} {:>9.1f} {:>6.1f}%", one.name, 1e3 * ours, rate / (memory ? 1e9 : 1e12), 100 * share);
  if (!group.rival.empty()) fmt::print(" {:>8}", theirs > 0 ? fmt::format("{:.1f}%", 100 * theirs / ours) : "-");
  fmt::print("\n");
  std::fflush(stdout);
  nlohmann::json line = {{"group", group.title}, {"name", one.name}, {"us", 1e3 * ours}, {"of_ceiling", share}};
  line[memory ? "gb_s" : "tflop_s"] = rate / (memory ? 1e9 : 1e12);
  if (theirs > 0) line["rival"] = group.rival, line["rival_us"] = 1e3 * theirs, line["of_rival"] = theirs / ours;
  record_["kernels"].push_back(line);
}

void Bench::measure(const Section& section) {
  const Group group = section.make();
  fmt::print("\n{} [{}]\n{:58} {:>10} {:>9} {:>7}", group.title, section.id, "", "us",
             group.bound == Bound::memory ? "GB/s" : "TFLOP/s", "share");
  fmt::print("{}\n", group.rival.empty() ? "" : " of " + group.rival);
  // What moves bytes is timed a call at a time, from a cold cache; products, of which each has work enough, in a row.
  const int most_calls = group.bound == Bound::memory ? 1 : 8;
  struct Samples {
    int calls;
    std::vector<double> ours, theirs;
  };
  std::vector<Samples> samples;
  for (const Case& one : group.cases) {
    if (one.rival) timer_.sample(one.rival);
    timer_.sample(one.run);
    const double once = timer_.sample(one.run);
    samples.push_back({std::clamp(int(1 / once), 1, most_calls), {once}, {}});
  }
  for (int round = 0; round < rounds(); ++round)
    for (size_t i = 0; i < group.cases.size(); ++i) {
      Samples& s = samples[i];
      if (round > 1 && s.ours.front() > 20) continue;  // long enough to need no more
      if (round == 0) s.ours.clear();
      s.ours.push_back(timer_.sample(group.cases[i].run, s.calls));
      if (group.cases[i].rival) s.theirs.push_back(timer_.sample(group.cases[i].rival, s.calls));
    }
  for (size_t i = 0; i < group.cases.size(); ++i)
    report(group, group.cases[i], median(samples[i].ours), samples[i].theirs.empty() ? 0 : median(samples[i].theirs));
}

void Bench::measure_steps(Dtype dtype) {
  const ModelConfig model = step_model(sizes_);
  const int64_t B = options_.batch > 0 ? options_.batch : step_batch(sizes_);
  double peak = ceilings_.arithmetic.at(dtype);
  std::string of = "measured";
  for (const DataSheet& sheet : data_sheets)
    if (of == "measured" && gpu::device_info().name.find(sheet.name) != std::string::npos)
      peak = 1e12 * (dtype == Dtype::bf16 ? sheet.bf16 : sheet.f32), of = "data sheet's";
  nlohmann::json line = {
      {"dtype", name(dtype)}, {"batch", B}, {"parameters", total_params(model)}, {"active", active_params(model)}};
  {
    Training training(model, B, dtype);
    training.sample(2);
    std::vector<double> times;
    for (int i = 0; i < rounds(); ++i) times.push_back(training.sample(static_cast<int>(sizes_.pick(1, 2, 3))));
    const double rate = 1e3 * training.tokens() / median(times);
    const double flops = 3 * forward_flops_per_token(model) * rate;
    line.update({{"ms", median(times)},
                 {"host_ms", training.host_milliseconds()},
                 {"tokens_s", rate},
                 {"mfu", flops / peak},
                 {"mfu_of", of},
                 {"loss", training.loss()},
                 {"memory_peak", pool_stats(Device::cuda).bytes_peak}});
    fmt::print(
        "step, {}: {:.0f} M parameters, {} x {} tokens: {:.1f} ms (the host queues it in {:.1f}), {:.0f} tokens/s, "
        "{:.1f} TFLOP/s, {:.1f}% of the {} {:.0f}; {} MB\n",
        name(dtype), double(total_params(model)) / 1e6, B, model.context, median(times), training.host_milliseconds(),
        rate, flops / 1e12, 100 * flops / peak, of, peak / 1e12, pool_stats(Device::cuda).bytes_peak >> 20);
  }
  Transformer decoder(model, 1, dtype, Device::cuda);
  for (int64_t sequences : {int64_t{1}, sizes_.pick(2, 32, 32)}) {
    const double rate = decode_rate(decoder, sequences, static_cast<int>(sizes_.pick(2, 32, 128)));
    line["decode_tokens_s"].push_back({{"sequences", sequences}, {"rate", rate}});
    fmt::print("generation, {}, {} sequence{}: {:.0f} tokens/s\n", name(dtype), sequences, sequences > 1 ? "s" : "",
               rate);
  }
  record_["steps"].push_back(line);
}

void Bench::save() const {
  if (options_.json.empty()) return;
  std::ofstream file(options_.json);
  file << record_.dump(1) << "\n";
  check(file.good(), "{}: cannot be written", options_.json);
}

void Bench::run() {
  measure_ceilings();
  for (const Section& section : sections())
    if (wanted(section.id)) measure(section), save();
  fmt::print("\n");
  for (Dtype dtype : {Dtype::bf16, Dtype::f32})
    if (wanted(fmt::format("step-{}", name(dtype)))) measure_steps(dtype), save();
}

// Beside another program: for each line on the standard input, one sample of training steps.
void Bench::work() {
  check(options_.worker == "bf16" || options_.worker == "f32", "--worker {}: must be bf16 or f32", options_.worker);
  Training training(step_model(sizes_), options_.batch > 0 ? options_.batch : step_batch(sizes_),
                    options_.worker == "bf16" ? Dtype::bf16 : Dtype::f32);
  training.sample(2);
  fmt::print("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    fmt::print("step {:.4f} ms\n", training.sample(static_cast<int>(sizes_.pick(1, 3, 5))));
    std::fflush(stdout);
  }
}

int main_program(int argc, char** argv) {
  Options options;
  CLI::App app{"Speed of the GPU's kernels, of training steps and of generation"};
  app.add_option("--only", options.only, "sections whose name this regular expression finds");
  app.add_option("--json", options.json, "write a record of everything to this file");
  app.add_option("--commit", options.commit, "the commit that the record names");
  app.add_option("--batch", options.batch, "sequences of a training step; default: by the device's memory");
  app.add_option("--worker", options.worker, "bf16 or f32: time a sample of training steps for each line read");
  app.add_flag("--quick", options.quick, "smaller sizes and fewer rounds: about two minutes");
  app.add_flag("--tiny", options.tiny, "sizes for trying this program on an emulated device; its times mean nothing");
  app.add_flag("--list", options.list, "print the names of the sections");
  CLI11_PARSE(app, argc, argv);
  try {
    static_cast<void>(std::regex(options.only));
  } catch (const std::regex_error&) {
    fail("--only {}: must be a regular expression", options.only);
  }
  if (const auto reason = gpu::unavailable()) fail("{}", *reason);
  Bench bench(options);
  if (options.list)
    bench.list();
  else if (!options.worker.empty())
    bench.work();
  else
    bench.run();
  return 0;
}

}  // namespace
}  // namespace switchyard::bench

int main(int argc, char** argv) {
  try {
    return switchyard::bench::main_program(argc, argv);
  } catch (const switchyard::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
}
