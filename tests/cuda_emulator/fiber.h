// Stacks and the switch between them.
#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulator {

// A stack of its own on which `entry` runs, or (default-constructed) the stack that the process came with.
class Fiber {
 public:
  Fiber() = default;
  Fiber(char* stack, size_t bytes) : stack_(stack), bytes_(bytes) {}

  void prepare(void (*entry)());  // the next switch to it calls entry, which must not return
  // Goes on in `to` until somebody switches back here.
  void switch_to(Fiber& to);
  static void arrived();  // what entry must call first

  int thread = -1;  // which CUDA thread to start when it is next resumed

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
  char* stack_ = nullptr;
  size_t bytes_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
};

}  // namespace cuda_emulator
