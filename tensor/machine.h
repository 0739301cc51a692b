// What the machine at hand has and can do: memory, and the most that its arithmetic and its memory give.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace switchyard {

// CPUs that this process may run on.
int available_cpus();
// The most that SWITCHYARD_ISA can ask for here; and what multiplies bf16 matrices: "amx", "dot" or "f32"
// (tensor/device.h has cpu_isa(), which is what the kernels use).
std::string best_cpu_isa();
std::string cpu_bf16();

// f32 operations a second of all threads(): multiply-adds in registers, two operations each. And bytes a second that
// they read from memory. Measured for at least so many seconds; `./run bench machine` is the finer measure.
double measure_flops(double seconds = 0.02);
double measure_bytes(double seconds = 0.05);

// Bytes that this process may still take without swapping: what the system has available, or what is left to its
// control group (container) where that is less; -1 where the system does not say.
int64_t memory_available(const std::filesystem::path& proc = "/proc",
                         const std::filesystem::path& groups = "/sys/fs/cgroup");
// An entry of /proc/meminfo, such as "MemTotal", in bytes; -1 if it is not there.
int64_t memory_entry(const std::string& key, const std::filesystem::path& proc = "/proc");
// The most bytes of memory that this process has ever held at once, and what it holds now.
int64_t memory_peak();
int64_t memory_now();

}  // namespace switchyard
