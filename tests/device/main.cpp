// Tests of the GPU's kernels. Without a GPU they are skipped: one line, and exit code 77. With --on-cpu before all else
// they are tests of the CPU's kernels in bf16, as far as they compare with f32 at all.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <optional>

#include "tensor/cpu/bf16_product.h"
#include "tensor/error.h"
#include "tests/device/device_cases.h"

namespace {

// Why there is nothing to test.
std::optional<std::string> unavailable() {
  using namespace switchyard;
  if (test::under_test == Device::cuda) return gpu::unavailable();
  try {
    cpu::bf16_product();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::string(arguments[1]) == "--on-cpu")
    switchyard::test::under_test = switchyard::Device::cpu, --count, ++arguments;
  if (const auto reason = unavailable()) {
    std::printf("skipped: %s\n", reason->c_str());
    return 77;
  }
  doctest::Context context(count, arguments);
  const int failures = context.run();
  // For any order of threads it must be the same.
  std::printf("hash of all results: %016llx\n", static_cast<unsigned long long>(switchyard::test::results_hash()));
  return failures;
}
