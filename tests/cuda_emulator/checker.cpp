// The access checker. Kernel files are compiled with -fsanitize=thread, which calls __tsan_read4(p) and the like before
// each access to memory; here are these functions, instead of ThreadSanitizer's. They find accesses out of bounds or to
// host memory, reads of what nobody wrote, misaligned vectors, and races.
//
// A race: two accesses to the same bytes by different threads, one a write and not both atomic, that nothing orders.
// What orders: the end of a launch; __syncthreads within a block; __syncwarp within a warp; and between blocks
// __threadfence and an atomic by the first, an atomic by the second (which atomic is not looked at). A shuffle does
// not. Per word the last write and the last two readers are remembered, so that a race can hide behind another access.
// The kernels must be linked into the executable: their static shared memory is looked for among its variables.
#include "tests/cuda_emulator/checker.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/cuda_emulator/memory.h"

extern "C" const char __executable_start, __data_start, _end;

namespace cuda_emulator {
namespace {

//@begin access
struct Access {
  uint32_t segment = 0;  // counts barriers and blocks since the start
  uint32_t code = 0;     // the instruction, as an offset in the executable
  uint16_t thread = 0;
  uint16_t clock = 0;  // __syncwarps of its lane since the barrier
  uint8_t bytes = 0;   // which of the word's four
  bool atomic = false;
};
struct Word {
  Access write, read[2];
};
//@end access

// Memory that kernels share, and what is known of it.
struct Area {
  const char* begin = nullptr;
  size_t bytes = 0;
  bool of_block = false;  // shared memory, which starts anew with each block
  Word* words = nullptr;
  uint8_t* written = nullptr;  // a byte for each byte: 0 no, 1 yes, 2 a cp.async is under way

  bool contains(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - begin) < bytes; }
  const char* name() const { return of_block ? "shared" : "device"; }
  Word& word(const char* p) const { return words[(p - begin) / 4]; }
  uint8_t* state(const void* p) const { return written + (static_cast<const char*>(p) - begin); }
};

struct Block {
  uint32_t first_segment;
  uint32_t released_segment = 0;  // of its last atomic after a __threadfence: what came before may be read by others
  uint16_t released_thread = 0;
  bool fenced = false, acquired = false;
};

struct Warp {
  bool synchronised = false;  // since the last barrier
  uint16_t clock[32];
  uint16_t seen[32][32];  // [lane][other]: the accesses of `other` up to this clock happened before what `lane` does
};

constinit thread_local bool watching = false;  // whether a kernel's own code runs, on this host thread

template <class T>
T* map_zeros(size_t n) {
  void* p = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Error("no address space for the access checker");
  return static_cast<T*>(p);
}
Area make_area(const void* begin, size_t bytes, bool of_block) {
  const char* from = reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(begin) & ~uintptr_t{15});
  bytes += static_cast<const char*>(begin) - from;
  return {from, bytes, of_block, map_zeros<Word>(bytes / 4 + 1), map_zeros<uint8_t>(bytes)};
}
// Instructions are noted as the offset in the executable of the one behind them.
uint32_t offset_of(const void* code) {
  return static_cast<uint32_t>(static_cast<const char*>(code) - &__executable_start);
}
Text place_before(uint32_t code) { return place_of_code(&__executable_start + code - 1); }
bool within(const void* p, const void* begin, const void* end) { return p >= begin && p < end; }

class AccessChecker : public Checker {
 public:
  AccessChecker() { checker = this; }

  void watch(bool on) override { watching = on; }
  void grid_begins(const Grid& grid) override {
    if (device_.begin == nullptr && device_memory().begin) set_device();
    if (variables_.begin == nullptr) variables_ = make_area(&__data_start, &_end - &__data_start, true);
    arguments_ = {static_cast<const char*>(grid.closure), grid.closure_bytes};
    blocks_.clear();
    first_of_launch_ = segment_ + 1;
  }
  void block_begins(const void* shared, size_t bytes) override {
    if (dynamic_.begin == nullptr) dynamic_ = make_area(shared, max_dynamic_shared, true);
    dynamic_bytes_ = bytes;
    std::memset(dynamic_.written, 0, bytes);
    if (touched_begin_) std::memset(variables_.state(touched_begin_), 0, touched_end_ - touched_begin_);
    touched_begin_ = touched_end_ = nullptr;
    block_synchronises();
    first_of_block_ = segment_;
    blocks_.push_back({segment_});
  }
  void block_synchronises() override {
    ++segment_;
    for (Warp& warp : warps_)
      if (warp.synchronised) warp = {};
  }
  void warp_synchronises(int number, unsigned mask) override;
  void fence() override { blocks_.back().fenced = true; }
  void access(const void* p, size_t bytes, Kind kind, const void* code) override;
  void check(const void* p, size_t bytes, Kind kind, uint32_t code);
  void under_way(const void* p, size_t bytes) override;
  void landed(const void* p, size_t bytes) override {
    std::memset(dynamic_.state(p), 1, bytes);
    std::fill_n(&dynamic_.word(static_cast<const char*>(p)), bytes / 4, Word{});
  }
  void allocated(const void* p, size_t bytes) override;
  void freed(const void* p) override;
  void host_wrote(const void* p, size_t bytes) override { std::memset(device_.state(p), 1, bytes); }

 private:
  struct Allocation {
    const char* begin;
    size_t bytes;
  };
  static constexpr size_t granule = 256;  // of allocations

  void set_device() {
    device_ = make_area(device_memory().begin, device_memory().bytes, false);
    allocation_of_ = map_zeros<uint32_t>(device_.bytes / granule);
  }
  uint32_t& allocation_of(const void* p) {
    return allocation_of_[(static_cast<const char*>(p) - device_.begin) / granule];
  }
  const Area* find_area(const void* p, size_t bytes, Kind kind, uint32_t code);
  void check_word(const Area& area, Word& word, const Access& mine, Kind kind);
  bool is_concurrent(const Access& before, const Access& mine, const Area& area) const;
  [[noreturn, gnu::cold]] void report_bounds(const Area& area, const void* p, size_t bytes, Kind kind, uint32_t code);
  [[noreturn, gnu::cold]] void report_host_pointer(Kind kind, uint32_t code);
  [[noreturn, gnu::cold]] void report_unwritten(const Area& area, const uint8_t* state, size_t bytes, uint32_t code);
  [[noreturn, gnu::cold]] void report_race(const Access& before, bool before_wrote, const Access& mine,
                                           const Area& area, Kind kind);

  Area device_, variables_, dynamic_;
  size_t dynamic_bytes_ = 0;  // of the launch
  Range arguments_;
  const char *touched_begin_ = nullptr, *touched_end_ = nullptr;  // of variables_, by this block
  std::vector<Allocation> allocations_{{}};
  uint32_t* allocation_of_ = nullptr;
  uint32_t segment_ = 0, first_of_launch_ = 0, first_of_block_ = 0;
  std::vector<Block> blocks_;  // of this launch
  Warp warps_[max_threads / 32]{};
};
AccessChecker the_checker;

bool all_written(const uint8_t* state, size_t bytes) {
  uint32_t four;
  if (bytes != 4) return std::all_of(state, state + bytes, [](uint8_t s) { return s == 1; });
  std::memcpy(&four, state, 4);
  return four == 0x01010101;
}

const char* verb(Checker::Kind kind) { return kind == Checker::Kind::read ? "reads" : "writes"; }

void AccessChecker::allocated(const void* p, size_t bytes) {
  if (device_.begin == nullptr) set_device();
  allocations_.push_back({static_cast<const char*>(p), bytes});
  for (size_t i = 0; i < bytes; i += granule)
    allocation_of(static_cast<const char*>(p) + i) = static_cast<uint32_t>(allocations_.size() - 1);
}

void AccessChecker::freed(const void* p) {
  const Allocation gone = allocations_[allocation_of(p)];
  for (size_t i = 0; i < gone.bytes; i += granule) allocation_of(gone.begin + i) = 0;
  std::memset(device_.state(p), 0, gone.bytes);
}

//@begin warp-clocks
void AccessChecker::warp_synchronises(int number, unsigned mask) {
  Warp& warp = warps_[number];
  warp.synchronised = true;
  uint16_t all[32] = {};  // what any of them has seen, or done
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) {
      warp.seen[lane][lane] = ++warp.clock[lane];
      const uint16_t* seen = warp.seen[lane];
      for (int k = 0; k < 32; ++k) all[k] = std::max(all[k], seen[k]);
    }
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) std::copy(all, all + 32, warp.seen[lane]);
}
//@end warp-clocks

// An access is stamped with its lane's clock, which the next __syncwarp raises: smaller than `seen` is before.
inline bool AccessChecker::is_concurrent(const Access& before, const Access& mine, const Area& area) const {
  const int self = mine.thread;
  if (before.segment >= first_of_block_) {
    if (before.segment < segment_ || before.thread == self) return false;
    if (before.thread / 32 != self / 32) return true;
    return before.clock >= warps_[self / 32].seen[self % 32][before.thread % 32];
  }
  if (area.of_block || before.segment < first_of_launch_) return false;
  if (!blocks_.back().acquired) return true;
  auto other = std::upper_bound(blocks_.begin(), blocks_.end(), before.segment,
                                [](uint32_t segment, const Block& b) { return segment < b.first_segment; });
  --other;
  return before.segment > other->released_segment ||
         (before.segment == other->released_segment && before.thread != other->released_thread);
}

void AccessChecker::report_race(const Access& before, bool before_wrote, const Access& mine, const Area& area,
                                Kind kind) {
  const bool other_block = before.segment < first_of_block_;
  const char* order = kind == Kind::read ? "read after write" : before_wrote ? "write after write" : "write after read";
  fail("race (%s) in %s memory at %s; thread %s%s %s it at %s", order, area.name(), place_before(mine.code).text,
       place_of_thread(before.thread).text, other_block ? " of another block" : "", before_wrote ? "wrote" : "read",
       place_before(before.code).text);
}

inline void AccessChecker::check_word(const Area& area, Word& word, const Access& mine, Kind kind) {
  if ((word.write.bytes & mine.bytes) && !(word.write.atomic && mine.atomic) && is_concurrent(word.write, mine, area))
    report_race(word.write, true, mine, area, kind);
  if (kind == Kind::read) {
    if (word.read[0].thread != mine.thread || word.read[0].segment < first_of_block_) word.read[1] = word.read[0];
    word.read[0] = mine;
    return;
  }
  for (const Access& read : word.read)
    if ((read.bytes & mine.bytes) && is_concurrent(read, mine, area)) report_race(read, false, mine, area, kind);
  word.write = mine;
}

void AccessChecker::report_bounds(const Area& area, const void* p, size_t bytes, Kind kind, uint32_t code) {
  const char* at = static_cast<const char*>(p);
  const Text place = place_before(code);
  const char* where = place.text;
  if (area.of_block)
    fail("out of bounds: it %s %zu bytes past the %zu of dynamic shared memory at %s", verb(kind), bytes,
         dynamic_bytes_, where);
  const Allocation& in = allocations_[allocation_of(p)];
  if (in.bytes == 0) fail("out of bounds: it %s device memory that is not allocated at %s", verb(kind), where);
  fail("out of bounds: it %s %zu bytes from byte %td on of an allocation of %zu at %s", verb(kind), bytes,
       at - in.begin, in.bytes, where);
}

// Where p lies, or null if nothing is known of it: a thread's own variables, a kernel's parameters, constants.
inline const Area* AccessChecker::find_area(const void* p, size_t bytes, Kind kind, uint32_t code) {
  const char* at = static_cast<const char*>(p);
  if (device_.contains(p)) {
    const Allocation& in = allocations_[allocation_of(p)];
    if (at + bytes > in.begin + in.bytes) report_bounds(device_, p, bytes, kind, code);
    return &device_;
  }
  if (dynamic_.contains(p)) {
    if (at + bytes > dynamic_.begin + dynamic_bytes_) report_bounds(dynamic_, p, bytes, kind, code);
    return &dynamic_;
  }
  if (within(p, &built_ins, &built_ins + 1) || stacks.contains(p)) return nullptr;
  if (variables_.contains(p)) {
    if (kind != Kind::read) {
      touched_begin_ = touched_begin_ ? std::min(touched_begin_, at) : at;
      touched_end_ = std::max(touched_end_, at + bytes);
    }
    return &variables_;
  }
  if (kind == Kind::read && (within(p, &__executable_start, &__data_start) || arguments_.contains(p))) return nullptr;
  report_host_pointer(kind, code);
}

void AccessChecker::report_host_pointer(Kind kind, uint32_t code) {
  fail("a host pointer in a kernel: it %s host memory at %s", verb(kind), place_before(code).text);
}
void AccessChecker::report_unwritten(const Area& area, const uint8_t* state, size_t bytes, uint32_t code) {
  if (std::memchr(state, 2, bytes)) fail("it reads what cp.async has not brought yet at %s", place_before(code).text);
  fail("uninitialised read of %s memory at %s", area.name(), place_before(code).text);
}

[[gnu::always_inline]] inline void AccessChecker::check(const void* p, size_t bytes, Kind kind, uint32_t code) {
  const Area* area = find_area(p, bytes, kind, code);
  if (area == nullptr) return;
  uint8_t* state = area->state(p);
  if (kind != Kind::write && !all_written(state, bytes)) report_unwritten(*area, state, bytes, code);
  if (kind != Kind::read) std::memset(state, 1, bytes);
  const int self = thread_number();
  Access mine{
      segment_, code, static_cast<uint16_t>(self), warps_[self / 32].clock[self % 32], 15, kind == Kind::atomic};
  const char* at = static_cast<const char*>(p);
  size_t first = reinterpret_cast<uintptr_t>(at) % 4;
  for (Word* word = &area->word(at); bytes > 0; ++word, first = 0) {
    const size_t count = std::min(4 - first, bytes);
    if (count < 4) mine.bytes = static_cast<uint8_t>(((1 << count) - 1) << first);
    check_word(*area, *word, mine, kind);
    mine.bytes = 15;
    bytes -= count;
  }
}

void AccessChecker::access(const void* p, size_t bytes, Kind kind, const void* code) {
  check(p, bytes, kind, offset_of(code));
  if (kind != Kind::atomic || !device_.contains(p)) return;
  Block& block = blocks_.back();
  block.acquired = true;
  if (block.fenced) block.released_segment = segment_, block.released_thread = static_cast<uint16_t>(thread_number());
}

void AccessChecker::under_way(const void* p, size_t bytes) {
  std::memset((dynamic_.contains(p) ? dynamic_ : variables_).state(p), 2, bytes);
}

[[gnu::noinline, gnu::cold]] void report_misaligned(size_t bytes, Checker::Kind kind, uint32_t code) {
  fail("misaligned: it %s %zu bytes at %s", verb(kind), bytes, place_before(code).text);
}

[[gnu::always_inline]] inline void note(const void* p, size_t bytes, Checker::Kind kind, size_t alignment,
                                        uint32_t code) {
  if (bytes == 0) return;
  watching = false;  // functions of the standard library may be instrumented too
  if (reinterpret_cast<uintptr_t>(p) % alignment != 0) report_misaligned(bytes, kind, code);
  the_checker.check(p, bytes, kind, code);
  watching = true;
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;
using Kind = Checker::Kind;

// ThreadSanitizer's interface, as compilers call it.
// NOLINTBEGIN
#define HOOK(name, size, kind)                                                       \
  void __tsan_##name##size(void* p) {                                                \
    if (watching) note(p, size, kind, size, offset_of(__builtin_return_address(0))); \
  }                                                                                  \
  void __tsan_unaligned_##name##size(void* p) {                                      \
    if (watching) note(p, size, kind, 1, offset_of(__builtin_return_address(0)));    \
  }
#define HOOKS(size) HOOK(read, size, Kind::read) HOOK(write, size, Kind::write)

// std::atomic, which host code in a kernel file may use.
#define ATOMIC_CHANGE(T, bits, name) \
  T __tsan_atomic##bits##_##name(volatile T* p, T x, int) { return __atomic_##name(p, x, __ATOMIC_SEQ_CST); }
#define ATOMIC_COMPARE(T, bits, strength)                                                            \
  int __tsan_atomic##bits##_compare_exchange_##strength(volatile T* p, T* expected, T x, int, int) { \
    return __atomic_compare_exchange_n(p, expected, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
  }
#define ATOMICS(T, bits)                                                                                            \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T x, int) { __atomic_store_n(p, x, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T x, int) { return __atomic_exchange_n(p, x, __ATOMIC_SEQ_CST); } \
  ATOMIC_CHANGE(T, bits, fetch_add)                                                                                 \
  ATOMIC_CHANGE(T, bits, fetch_sub)                                                                                 \
  ATOMIC_CHANGE(T, bits, fetch_and)                                                                                 \
  ATOMIC_CHANGE(T, bits, fetch_or)                                                                                  \
  ATOMIC_CHANGE(T, bits, fetch_xor) ATOMIC_COMPARE(T, bits, strong) ATOMIC_COMPARE(T, bits, weak)

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
ATOMICS(uint8_t, 8)
ATOMICS(uint16_t, 16) ATOMICS(uint32_t, 32) ATOMICS(uint64_t, 64) void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {}
void __tsan_read_range(void* p, unsigned long bytes) {
  if (watching) note(p, bytes, Kind::read, 1, offset_of(__builtin_return_address(0)));
}
void __tsan_write_range(void* p, unsigned long bytes) {
  if (watching) note(p, bytes, Kind::write, 1, offset_of(__builtin_return_address(0)));
}
void* __tsan_memcpy(void* to, const void* from, size_t n) {  // clang
  if (watching) note(from, n, Kind::read, 1, offset_of(__builtin_return_address(0)));
  if (watching) note(to, n, Kind::write, 1, offset_of(__builtin_return_address(0)));
  return std::memmove(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, size_t n) { return __tsan_memcpy(to, from, n); }
void* __tsan_memset(void* to, int value, size_t n) {
  if (watching) note(to, n, Kind::write, 1, offset_of(__builtin_return_address(0)));
  return std::memset(to, value, n);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
// NOLINTEND
