#include "tests/cuda_emulator/scheduler.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/fiber.h"
#include "tests/cuda_emulator/hopper.h"
#include "tests/cuda_emulator/order.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace cuda_emulator {

BuiltIns built_ins;
namespace {

//@begin thread
struct Thread {
  enum State : uint8_t { fresh, ready, at_barrier, in_warp, parked, done };
  State state = fresh;
  Fiber* fiber = nullptr;          // on whose stack it is, once started
  const char* waits_in = nullptr;  // the call that it waits in
  Location where;
  unsigned mask = 0;     // of the warp operation
  void* mine = nullptr;  // what it passed to it
  int result = 0;        // of the barrier
};
//@end thread

// The ready threads: a ring that can be pushed at both ends.
class Ready {
 public:
  bool empty() const { return first_ == last_; }
  void clear() { first_ = last_ = 0; }
  void push_back(int thread) { ring_[last_++ % size] = static_cast<uint16_t>(thread); }
  void push_front(int thread) { ring_[--first_ % size] = static_cast<uint16_t>(thread); }
  int pop() { return ring_[first_++ % size]; }

 private:
  static constexpr unsigned size = 2048;
  uint16_t ring_[size];
  unsigned first_ = 0, last_ = 0;
};

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t stack_bytes = 256 << 10;
#else
constexpr size_t stack_bytes = 64 << 10;
#endif
constexpr size_t guard_bytes = 4096;  // below each stack: too deep a thread faults instead of overwriting its neighbour

// What runs. One grid at a time, one block at a time, one thread at a time.
struct Machine {
  const Grid* grid = nullptr;
  int threads = 0;  // of a block
  int unfinished = 0, waiting = 0, waiting_true = 0, last_waiting = 0;
  Thread thread[max_threads];
  uint3 index[max_threads];
  dim3 index_for{0, 0, 0};  // the block size that `index` is for
  unsigned arrived[max_threads / 32];
  Ready ready;
  Fiber* fiber = nullptr;  // the running one
  Fiber* main = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Fiber*> free_fibers;
  char error[500] = "";
};
Machine machine;
alignas(128) unsigned char shared_memory[max_dynamic_shared + 128];

Text waits(const Thread& thread) {
  Text text;
  if (thread.state == Thread::done)
    std::snprintf(text.text, sizeof text.text, "has returned");
  else
    std::snprintf(text.text, sizeof text.text, "waits in %.24s at %.60s", thread.waits_in, place(thread.where).text);
  return text;
}

bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool same_place(const Location& a, const Location& b) { return a.line == b.line && same_text(a.file, b.file); }

void enter(int t) {
  built_ins.number = t;
  built_ins.thread = machine.index[t];
}

void to(Fiber& next) {
  Fiber& self = *machine.fiber;
  machine.fiber = &next;
  self.switch_to(next);
}

[[noreturn]] void to_main() {
  to(*machine.main);
  std::abort();  // nobody resumes it
}

[[noreturn]] void deadlock() {
  const Thread *waits_for = nullptr, *other = nullptr;
  int waiter = -1, missing = -1;
  for (int t = 0; t < machine.threads; ++t) {  // any that waits, and somebody whom it waits for
    const Thread& thread = machine.thread[t];
    if (waits_for == nullptr && thread.state != Thread::done) waits_for = &thread, waiter = t;
  }
  const bool in_warp = waits_for->state == Thread::in_warp;
  const int first = in_warp ? waiter / 32 * 32 : 0, last = in_warp ? first + 32 : machine.threads;
  for (int t = first; t < last && missing < 0; ++t) {
    if (in_warp && !(waits_for->mask >> (t - first) & 1)) continue;
    if (t >= machine.threads) {
      missing = t;
      break;
    }
    const Thread& thread = machine.thread[t];
    const bool with = thread.state == waits_for->state && thread.mask == waits_for->mask &&
                      same_text(thread.waits_in, waits_for->waits_in);
    if (!with) missing = t, other = &thread;
  }
  enter(waiter);
  if (missing < 0) fail("deadlock: it %s, and so do all others", waits(*waits_for).text);
  if (other == nullptr)
    fail("deadlock: it %s, but lane %d of its mask does not exist", waits(*waits_for).text, missing - first);
  fail("deadlock: it %s, but thread %s %s", waits(*waits_for).text, place_of_thread(missing).text, waits(*other).text);
}

int next_thread() {
  while (machine.ready.empty())
    if (!land_copy()) deadlock();
  return machine.ready.pop();
}

// Gives the machine to the next ready thread; returns when the caller is that again.
//@begin wait
void wait() {
  const int self = thread_number(), next = next_thread();
  if (next == self) return;
  Thread& thread = machine.thread[next];
  if (thread.fiber == nullptr) {
    thread.fiber = machine.free_fibers.back();
    machine.free_fibers.pop_back();
    thread.fiber->thread = next;
  } else {
    enter(next);
  }
  to(*thread.fiber);
}
//@end wait

// A fiber runs threads one after another, as long as they do not block.
void fiber_main() {
  Fiber::arrived();
  Fiber* const self = machine.fiber;
  for (;;) {
    Thread& thread = machine.thread[self->thread];
    thread.fiber = self;
    enter(self->thread);
    if (checker) checker->watch(true);
    machine.grid->call(machine.grid->closure);
    if (checker) checker->watch(false);
    thread.state = Thread::done;
    --machine.unfinished;
    const int next = machine.unfinished > 0 ? next_thread() : -1;  // none: back to run_block
    Fiber* const fiber = next < 0 ? machine.main : machine.thread[next].fiber;
    if (fiber == nullptr) {
      self->thread = next;
      continue;
    }
    if (next >= 0) enter(next);
    machine.free_fibers.push_back(self);
    to(*fiber);  // comes back with another thread to start
  }
}

void make_fibers() {
  if (machine.fibers.empty()) {
    constexpr size_t stride = stack_bytes + guard_bytes;
    void* memory = mmap(nullptr, stride * (max_threads + 1), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw Error("no memory for the stacks of a block's threads");
    for (int f = 0; f <= max_threads; ++f) {
      char* stack = static_cast<char*>(memory) + stride * f;
      mprotect(stack, guard_bytes, PROT_NONE);
      machine.fibers.emplace_back(stack + guard_bytes, stack_bytes);
    }
    stacks = {static_cast<char*>(memory), stride * (max_threads + 1)};
  }
  machine.free_fibers.clear();
  for (auto fiber = machine.fibers.rbegin(); fiber != machine.fibers.rend(); ++fiber) {
    fiber->prepare(fiber_main);
    machine.free_fibers.push_back(&*fiber);
  }
}

// Threads whose wait is over, in ascending order; they become ready.
void release(uint16_t* threads, size_t n) {
  arrange(threads, n);
  for (size_t i = 0; i < n; ++i) machine.thread[threads[i]].state = Thread::ready;
  if (order() == Order::shuffled) {  // a warp runs as far as it gets before the next
    for (size_t i = n; i-- > 0;) machine.ready.push_front(threads[i]);
  } else {
    for (size_t i = 0; i < n; ++i) machine.ready.push_back(threads[i]);
  }
}

void run_block() {
  uint16_t turn[max_threads];
  std::iota(turn, turn + machine.threads, uint16_t{0});
  arrange(turn, machine.threads);
  machine.ready.clear();
  for (int t = 0; t < machine.threads; ++t) {
    machine.thread[t].state = Thread::fresh;
    machine.thread[t].fiber = nullptr;
    machine.ready.push_back(turn[t]);
  }
  std::fill(std::begin(machine.arrived), std::end(machine.arrived), 0U);
  machine.unfinished = machine.threads;
  machine.waiting = machine.waiting_true = 0;
  cp_async_drop();
  forget_hopper();                                                    // of a block that failed
  std::memset(shared_memory, 0xff, machine.grid->shared_bytes + 64);  // NaN, and the guard behind
  if (checker) checker->block_begins(shared_memory, machine.grid->shared_bytes);

  Fiber here;
  machine.main = machine.fiber = &here;
  Fiber* first = machine.free_fibers.back();
  machine.free_fibers.pop_back();
  first->thread = machine.ready.pop();
  to(*first);
  if (machine.error[0] != 0) return;
  if (const char* left = forget_hopper())
    std::snprintf(machine.error, sizeof machine.error, "block %s: it ends with %s", place(built_ins.block).text, left);
  for (size_t i = 0; i < 64; ++i)
    if (shared_memory[machine.grid->shared_bytes + i] != 0xff) {
      std::snprintf(machine.error, sizeof machine.error, "block %s: wrote past its %zu bytes of dynamic shared memory",
                    place(built_ins.block).text, machine.grid->shared_bytes);
      return;
    }
}

void number_threads(dim3 size) {
  machine.threads = static_cast<int>(size.x * size.y * size.z);
  if (machine.index_for.x == size.x && machine.index_for.y == size.y && machine.index_for.z == size.z) return;
  machine.index_for = size;
  int t = 0;
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x) machine.index[t++] = {x, y, z};
}

}  // namespace

void run_grid(const Grid& grid) {
  number_threads(grid.block_size);
  if (machine.fibers.empty()) make_fibers();
  machine.grid = &grid;
  built_ins.block_size = grid.block_size;
  built_ins.grid_size = grid.size;
  if (checker) checker->grid_begins(grid);
  const uint64_t blocks = uint64_t{grid.size.x} * grid.size.y * grid.size.z;
  std::vector<uint64_t> turn(order() == Order::shuffled ? blocks : 0);
  std::iota(turn.begin(), turn.end(), uint64_t{0});
  arrange(turn.data(), turn.size());
  for (uint64_t i = 0; i < blocks && machine.error[0] == 0; ++i) {
    const uint64_t b = !turn.empty() ? turn[i] : order() == Order::reverse ? blocks - 1 - i : i;
    built_ins.block = {static_cast<unsigned>(b % grid.size.x), static_cast<unsigned>(b / grid.size.x % grid.size.y),
                       static_cast<unsigned>(b / grid.size.x / grid.size.y)};
    run_block();
  }
  machine.grid = nullptr;
  if (machine.error[0] == 0) return;
  make_fibers();  // the threads that were under way are abandoned
  const Error error(machine.error);
  machine.error[0] = 0;
  throw error;
}

bool in_kernel() { return machine.grid != nullptr; }

void* dynamic_shared() { return shared_memory; }
size_t dynamic_shared_bytes() { return machine.grid->shared_bytes; }

Text place_of_thread(int number) { return place(machine.index[number]); }

void fail(const char* format, ...) {
  if (checker) checker->watch(false);
  const int n = std::snprintf(machine.error, sizeof machine.error, "block %s thread %s: ", place(built_ins.block).text,
                              place(built_ins.thread).text);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(machine.error + n, sizeof machine.error - n, format, arguments);
  va_end(arguments);
  to_main();
}

void park(const char* name, Location where) {
  Thread& thread = machine.thread[thread_number()];
  thread.state = Thread::parked;
  thread.waits_in = name;
  thread.where = where;
  thread.mask = 0;
  wait();
}
void unpark(uint16_t* threads, size_t n) { release(threads, n); }

int sync_threads(bool predicate, const char* name, Location where) {
  const Unwatched own;
  const int self = thread_number();
  Thread& thread = machine.thread[self];
  if (machine.waiting > 0) {
    const Thread& other = machine.thread[machine.last_waiting];
    if (!same_place(other.where, where))
      fail("divergent barriers: it calls %s at %s, but thread %s %s", name, place(where).text,
           place_of_thread(machine.last_waiting).text, waits(other).text);
  }
  machine.last_waiting = self;
  thread.state = Thread::at_barrier;
  thread.waits_in = name;
  thread.where = where;
  thread.mask = 0;
  machine.waiting_true += predicate;
  //@begin barrier
  if (++machine.waiting == machine.threads) {
    if (checker) checker->block_synchronises();
    uint16_t all[max_threads];
    std::iota(all, all + machine.threads, uint16_t{0});
    const int held = machine.waiting_true;
    for (int t = 0; t < machine.threads; ++t) machine.thread[t].result = held;
    machine.waiting = machine.waiting_true = 0;
    release(all, machine.threads);
  }
  wait();
  return thread.result;
  //@end barrier
}

void warp_operation(unsigned mask, const char* name, void* mine, Combine combine, Location where, bool orders_memory) {
  const Unwatched own;
  const int self = thread_number(), warp = self / 32;
  Thread& thread = machine.thread[self];
  if (!(mask >> self % 32 & 1)) fail("%s at %s: its mask lacks the caller", name, place(where).text);
  thread.state = Thread::in_warp;
  thread.waits_in = name;
  thread.where = where;
  thread.mask = mask;
  thread.mine = mine;
  unsigned& arrived = machine.arrived[warp];
  arrived |= 1U << self % 32;
  bool complete = (arrived & mask) == mask;
  uint16_t lanes[32];
  void* data[32] = {};
  size_t n = 0;
  for (int lane = 0; complete && lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const Thread& other = machine.thread[warp * 32 + lane];
    if (other.mask == mask && !same_text(other.waits_in, name))
      fail("its warp diverged: it calls %s at %s, but thread %s %s", name, place(where).text,
           place_of_thread(warp * 32 + lane).text, waits(other).text);
    complete = other.mask == mask;
    lanes[n++] = static_cast<uint16_t>(warp * 32 + lane);
    data[lane] = other.mine;
  }
  if (complete) {
    if (combine) combine(data, mask);
    if (checker && orders_memory) checker->warp_synchronises(warp, mask);
    arrived &= ~mask;
    release(lanes, n);
  }
  wait();
}

}  // namespace cuda_emulator
