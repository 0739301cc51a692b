// Where a tensor lives and computes.
#pragma once
#include <cstdint>
#include <string>

namespace switchyard {

enum class Device : uint8_t { cpu, cuda };

constexpr const char* name(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

// Whether tensors can be made there: the CPU always, the GPU if this program was built with CUDA and finds one it can
// use. Error: the reason, in one line that begins with "device cuda".
void check_available(Device device);

// Threads that CPU kernels use, this one included. Default: the CPUs this process may run on. Results are
// bit-identical for any number. Error outside 1 to 1024.
void set_threads(int n);
int threads();
// Ties each of these threads to a CPU of its own; with `on` false, to none. Good on a machine that runs nothing else;
// on a shared one a tied thread waits behind its neighbour. Not the default, and set_threads() unties them. Error:
// fewer CPUs than threads.
void pin_threads(bool on);

// The instruction set chosen for the CPU kernels: "avx512", "avx2" or "portable". The environment variable
// SWITCHYARD_ISA selects a lower one; Error if the processor lacks it.
std::string cpu_isa();

}  // namespace switchyard
