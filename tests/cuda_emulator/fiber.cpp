#include "tests/cuda_emulator/fiber.h"

#include "tests/cuda_emulator/scheduler.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// void cuda_emulator_switch(void** save, void* load): pushes what a call must preserve, and pops the other side's.
asm(R"(
.text
.globl cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulator_switch, .-cuda_emulator_switch
)");
extern "C" void cuda_emulator_switch(void** save, void* load);
#endif

namespace cuda_emulator {

void Fiber::prepare(void (*entry)()) {
  fake_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, bytes_);  // an abandoned thread leaves redzones behind
#endif
#if defined(__x86_64__)
  auto* top = reinterpret_cast<uintptr_t*>(stack_ + bytes_);
  *--top = 0;  // where entry's caller would be; it also gives entry the alignment of a called function
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (int registers = 0; registers < 6; ++registers) *--top = 0;
  stack_pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = bytes_;
  makecontext(&context_, entry, 0);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
namespace {
Fiber* left = nullptr;  // whom the last switch left
}
#endif

void Fiber::switch_to(Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  left = this;
  __sanitizer_start_switch_fiber(&fake_stack_, to.stack_, to.bytes_);
#endif
#if defined(__x86_64__)
  cuda_emulator_switch(&stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* from;
  size_t bytes;
  __sanitizer_finish_switch_fiber(fake_stack_, &from, &bytes);
  if (left->stack_ == nullptr) left->stack_ = static_cast<char*>(const_cast<void*>(from)), left->bytes_ = bytes;
#endif
}

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  const void* from;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &from, &bytes);
  if (left->stack_ == nullptr) left->stack_ = static_cast<char*>(const_cast<void*>(from)), left->bytes_ = bytes;
#endif
}

}  // namespace cuda_emulator
