#include "tests/cuda_emulator/hopper.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/memory.h"
#include "tests/cuda_emulator/order.h"

namespace cuda_emulator {
namespace {

// Dynamic shared memory begins behind what the system and static variables take: no kernel may count on an alignment.
constexpr uint32_t first_address = 0x480;
constexpr uint32_t chunk_bits = 0x70, line_bits = 0x380;

// Which chunk of 128 bytes one of 16 is in depends on which line of eight that is.
uint32_t swizzled(uint32_t address) { return address ^ (address & line_bits) >> 3; }

char* at_address(uint32_t address, size_t bytes, const char* who) {
  static_assert(chunk_bits == line_bits >> 3);
  if (address < first_address || address + bytes > first_address + dynamic_shared_bytes())
    fail("%s: address %u is outside the dynamic shared memory", who, address);
  return static_cast<char*>(dynamic_shared()) + (address - first_address);
}

struct BoxCopy {
  TensorMap map;
  uint32_t to;
  int x, y, z;
  Barrier* barrier;

  int bytes() const { return 2 * map.box_width * map.box_lines; }
  // Of a line of the box: which of its elements exist, and where.
  const char* line(int i, int& first, int& end) const {
    const bool exists = y + i >= 0 && y + i < map.lines && z >= 0 && z < map.layers;
    first = std::clamp(-x, 0, map.box_width);
    end = exists ? static_cast<int>(std::clamp<int64_t>(map.width - x, first, map.box_width)) : first;
    return map.data + 2 * ((z * map.lines + y + i) * map.width + x);
  }
};
std::vector<BoxCopy> copies;  // under way

void land(const BoxCopy& copy) {
  const int line_bytes = 2 * copy.map.box_width;
  for (int i = 0; i < copy.map.box_lines; ++i) {
    int first, end;
    const char* from = copy.line(i, first, end);
    for (int byte = 0; byte < line_bytes; byte += 16) {
      char chunk[16] = {};
      const int begin = std::max(byte, 2 * first), stop = std::min(byte + 16, 2 * end);
      if (begin < stop) std::memcpy(chunk + begin - byte, from + begin, static_cast<size_t>(stop - begin));
      char* to = at_address(swizzled(copy.to + static_cast<uint32_t>(i * line_bytes + byte)), 16, "TMA");
      std::memcpy(to, chunk, 16);
      if (checker) checker->landed(to, 16);
    }
  }
}

struct Waiter {
  const Barrier* barrier;
  uint16_t thread;
};
std::vector<Waiter> waiters;

void end_phase_if_complete(Barrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.arrivals;
  uint16_t threads[max_threads];
  size_t n = 0;
  std::erase_if(waiters, [&](const Waiter& waiter) {
    if (waiter.barrier == &barrier) threads[n++] = waiter.thread;
    return waiter.barrier == &barrier;
  });
  std::sort(threads, threads + n);
  unpark(threads, n);
}

void check_started(const Barrier& barrier, const char* call) {
  if (barrier.arrivals == 0x7fff) fail("%s: the barrier was never initialised", call);
}

// A thread's products. `sum` are its sums, whose registers are not to be touched meanwhile.
struct Product {
  uint64_t a, b;
  bool transpose_a, transpose_b;
  int n, group;
  float* d;
};
struct Sums {
  float* d = nullptr;
  int n;
  float sum[128];
};
struct Products {
  std::vector<Product> waiting;
  Sums sums;  // of the products that wait
  int group = 0;
  int allowed = 0;  // groups that may stay under way
  bool fenced = false;
};
Products products[max_threads];
bool any_products = false;

float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// x[k][row], of `rows` rows from first_row on, of the matrix that a descriptor describes: "Strides" and "Matrix
// descriptor format" of the PTX ISA. Eight elements of a line lie together.
void read_matrix(uint64_t descriptor, bool transposed, int first_row, int rows, float (&x)[16][256]) {
  if (descriptor >> 62 != 1) fail("wgmma: the descriptor does not name the 128-byte swizzle");
  if (descriptor >> 49 & 7) fail("wgmma: the emulator knows no base offset");
  const auto field = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const int lines = transposed ? 16 : rows, chunks = transposed ? rows / 8 : 2;
  for (int line = 0; line < lines; ++line)
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const auto row = static_cast<uint32_t>(first_row + (transposed ? 8 * chunk : line));
      const auto k = static_cast<uint32_t>(transposed ? line : 8 * chunk);
      const uint32_t address = transposed ? start + row / 64 * leading + k / 8 * stride + k % 8 * 128 + row % 64 * 2
                                          : start + row / 8 * stride + row % 8 * 128 + k * 2;
      uint16_t bits[8];
      std::memcpy(bits, at_address(swizzled(address), 16, "wgmma"), 16);
      for (int i = 0; i < 8; ++i) (transposed ? x[line][8 * chunk + i] : x[8 * chunk + i][line]) = from_bf16(bits[i]);
    }
}

// The innermost loop of all; without the sanitizers' checks it takes a tenth of the time.
__attribute__((no_sanitize("address", "undefined"))) void add_products(const float (&a)[16][256],
                                                                       const float (&b)[16][256], int cols,
                                                                       float (&sum)[16][256]) {
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      for (int col = 0; col < cols; ++col) sum[row][col] += a[k][row] * b[k][col];
}

// One instruction, as far as this warp of the warpgroup has its rows.
void multiply(void* const lanes[32], size_t index) {
  static float a[16][256], b[16][256], sum[16][256];
  const Product shape = static_cast<Products*>(lanes[0])->waiting[index];
  read_matrix(shape.a, shape.transpose_a, thread_number() / 32 % 4 * 16, 16, a);
  read_matrix(shape.b, shape.transpose_b, 0, shape.n, b);
  std::memset(sum, 0, sizeof sum);
  add_products(a, b, shape.n, sum);
  for (int lane = 0; lane < 32; ++lane) {
    auto& mine = *static_cast<Products*>(lanes[lane]);
    const Product& same = mine.waiting[index];
    if (same.a != shape.a || same.b != shape.b) fail("wgmma: the lanes of a warp differ in their descriptors");
    for (int i = 0; i < shape.n / 2; ++i)
      mine.sums.sum[i] += sum[lane / 4 + i / 2 % 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2];
  }
}

void finish_products(void* const lanes[32], unsigned) {
  auto& first = *static_cast<Products*>(lanes[0]);
  size_t done = 0;
  while (done < first.waiting.size() && first.waiting[done].group < first.group - first.allowed) ++done;
  for (int lane = 0; lane < 32; ++lane)
    if (static_cast<Products*>(lanes[lane])->waiting.size() != first.waiting.size())
      fail("wgmma: the lanes of a warp differ in what they wait for");
  for (size_t i = 0; i < done; ++i) multiply(lanes, i);
  for (int lane = 0; lane < 32; ++lane) {
    auto& mine = *static_cast<Products*>(lanes[lane]);
    mine.waiting.erase(mine.waiting.begin(), mine.waiting.begin() + static_cast<std::ptrdiff_t>(done));
    if (!mine.waiting.empty() || mine.sums.d == nullptr) continue;
    std::memcpy(mine.sums.d, mine.sums.sum, sizeof(float) * static_cast<size_t>(mine.sums.n));
    mine.sums.d = nullptr;
    mine.fenced = false;
  }
}

}  // namespace

uint32_t shared_address(const void* p) {
  const auto offset = static_cast<const char*>(p) - static_cast<const char*>(dynamic_shared());
  return first_address + static_cast<uint32_t>(offset);
}

TensorMap tensor_map(const void* data, int64_t width, int64_t lines, int64_t layers, int box_width, int box_lines) {
  constexpr int64_t most = int64_t{1} << 32;
  const auto possible = [](int64_t size) { return size > 0 && size <= most; };
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0 || width * 2 % 16 != 0)
    throw Error("cuTensorMapEncodeTiled: data and lines must be multiples of 16 bytes");
  if (!possible(width) || !possible(lines) || !possible(layers))
    throw Error("cuTensorMapEncodeTiled: sizes must be 1 to 2^32");
  if (box_width * 2 > 128 || box_width * 2 % 16 != 0 || box_lines < 1 || box_lines > 256)
    throw Error("cuTensorMapEncodeTiled: a box has at most 256 lines of 128 bytes");
  if (memory_kind(data, static_cast<size_t>(2 * width * lines * layers), "cuTensorMapEncodeTiled") !=
      MemoryKind::device)
    throw Error("cuTensorMapEncodeTiled: no device memory");
  return {static_cast<const char*>(data), width, lines, layers, box_width, box_lines};
}

void mbarrier_init(Barrier* barrier, int arrivals) {
  const Unwatched own;
  if (arrivals < 1 || arrivals >= 0x7fff) fail("mbarrier.init: %d arrivals", arrivals);
  const auto count = static_cast<uint32_t>(arrivals) & 0x7fff;
  *barrier = {0, count, count, 0};
}

void mbarrier_arrive(Barrier* barrier, int expected_bytes) {
  const Unwatched own;
  check_started(*barrier, "mbarrier.arrive");
  if (unfenced_copies[thread_number()]) fail("mbarrier.arrive: after cp.async it lacks a fence.proxy.async");
  if (barrier->pending == 0)
    fail("mbarrier.arrive: more arrivals than the %d of a phase", static_cast<int>(barrier->arrivals));
  barrier->bytes += expected_bytes;
  barrier->pending = (barrier->pending - 1) & 0x7fff;
  end_phase_if_complete(*barrier);
}

void mbarrier_wait(Barrier* barrier, int parity, Location where) {
  const Unwatched own;
  check_started(*barrier, "mbarrier.try_wait");
  while (barrier->phase == static_cast<uint32_t>(parity)) {
    waiters.push_back({barrier, static_cast<uint16_t>(thread_number())});
    park("mbarrier.try_wait", where);
  }
}

void tma_load(void* shared, const TensorMap& map, int x, int y, int z, Barrier* barrier) {
  const Unwatched own;
  check_started(*barrier, "TMA");
  const BoxCopy copy{map, shared_address(shared), x, y, z, barrier};
  if (copy.to % 1024 != 0) fail("TMA: shared address %u is no multiple of 1024", copy.to);
  const auto bytes = static_cast<size_t>(copy.bytes());
  std::memset(at_address(copy.to, bytes, "TMA"), 0xff, bytes);  // from here on the old contents may be gone
  if (checker) checker->under_way(shared, bytes);
  copies.push_back(copy);
}

bool land_copy() {
  if (copies.empty()) return false;
  const size_t last = copies.size() - 1;
  const size_t which = order() == Order::forward ? 0 : order() == Order::reverse ? last : random_below(last + 1);
  const BoxCopy copy = copies[which];
  copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(which));
  land(copy);
  copy.barrier->bytes -= copy.bytes();
  end_phase_if_complete(*copy.barrier);
  return true;
}

void fence_proxy_async() { unfenced_copies[thread_number()] = false; }

void wgmma(float* d, int n, uint64_t a, uint64_t b, bool transpose_a, bool transpose_b) {
  const Unwatched own;
  Products& mine = products[thread_number()];
  any_products = true;
  if (!mine.fenced) fail("wgmma: the sums were touched since the last wgmma.fence");
  if (mine.sums.d != nullptr && mine.sums.d != d) fail("wgmma: the emulator knows one array of sums at a time");
  if (mine.sums.d == nullptr) {
    mine.sums.d = d;
    mine.sums.n = n / 2;
    std::memcpy(mine.sums.sum, d, sizeof(float) * static_cast<size_t>(n / 2));
    std::memset(d, 0xff, sizeof(float) * static_cast<size_t>(n / 2));
  }
  mine.waiting.push_back({a, b, transpose_a, transpose_b, n, mine.group, d});
}

void wgmma_fence() { products[thread_number()].fenced = true; }
void wgmma_commit() { ++products[thread_number()].group; }

void wgmma_wait(int pending_groups, Location where) {
  Products& mine = products[thread_number()];
  mine.allowed = pending_groups;
  warp_operation(0xffffffff, "wgmma.wait_group", &mine, finish_products, where);
}

const char* forget_hopper() {
  const char* left = copies.empty() ? nullptr : "TMA copies that nobody has waited for";
  copies.clear();
  waiters.clear();
  std::fill(std::begin(unfenced_copies), std::end(unfenced_copies), false);
  if (!any_products) return left;
  for (Products& each : products) {
    if (!each.waiting.empty()) left = "products (wgmma) that nobody has waited for";
    each.waiting.clear();
    each.sums.d = nullptr;
    each.group = 0;
    each.fenced = false;
  }
  any_products = false;
  return left;
}

}  // namespace cuda_emulator
