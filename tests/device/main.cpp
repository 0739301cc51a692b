// Tests of the GPU's kernels. Without a GPU they are skipped: one line, and exit code 77.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>

#include "tests/device/device_cases.h"

int main(int count, char** arguments) {
  if (const auto reason = switchyard::gpu::unavailable()) {
    std::printf("skipped: %s\n", reason->c_str());
    return 77;
  }
  doctest::Context context(count, arguments);
  const int failures = context.run();
  // For any order of threads it must be the same.
  std::printf("hash of all results: %016llx\n", static_cast<unsigned long long>(switchyard::test::results_hash()));
  return failures;
}
