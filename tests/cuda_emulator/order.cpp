#include "tests/cuda_emulator/order.h"

#include <cstdlib>

namespace cuda_emulator {
namespace {

struct Turns {
  Order order = Order::forward;
  uint64_t random = 1;

  Turns() {
    const char* wanted = std::getenv("CUDA_EMULATOR_ORDER");
    const char* seed = std::getenv("CUDA_EMULATOR_SEED");
    const std::string name = wanted ? wanted : "forward";
    if (name == "reverse")
      order = Order::reverse;
    else if (name == "shuffled")
      order = Order::shuffled;
    else if (name != "forward")
      throw Error("CUDA_EMULATOR_ORDER=" + name + ": must be forward, reverse or shuffled");
    if (seed) random = std::strtoull(seed, nullptr, 10);
  }
};
Turns& turns() {
  static Turns the;
  return the;
}

}  // namespace

Order order() { return turns().order; }
void set_order(Order order, uint64_t seed) {
  turns().order = order;
  turns().random = seed;
}

uint64_t random_below(uint64_t n) {  // splitmix64
  uint64_t z = turns().random += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (z ^ z >> 31) % n;
}

}  // namespace cuda_emulator
