// A stable sort by counting: what must come into groups stays in the order it came within each. Keys are sorted by a
// few bits at a time, the lowest first (least significant digit radix sort); every warp counts and moves a chunk of its
// own, so the result does not depend on which warp runs when.
#pragma once
#include <bit>

#include "tensor/cuda/common.cuh"

namespace switchyard::gpu {

constexpr int sort_threads = 128;
constexpr int sort_warps = sort_threads / warp_size;

// Floats as integers of the same order: a higher float has the higher number, NaN the lowest, -0 and 0 the same.
//@begin rising-bits
__device__ inline uint32_t rising_bits(float x) {
  if (x != x) return 0;
  const uint32_t bits = __float_as_uint(x + 0.0f);  // -0 + 0 is 0
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
//@end rising-bits
__device__ inline uint32_t falling_bits(float x) { return ~rising_bits(x); }

// The key of item i: its group, or `groups` for an item that is in none (group -1), so that those come last.
struct GroupOf {
  const int32_t* group;
  uint32_t groups;
  __device__ uint32_t operator()(int32_t i) const { return group[i] < 0 ? groups : uint32_t(group[i]); }
  int bits() const { return std::bit_width(groups); }
};

// One pass over the digit key >> shift & (digits - 1). Chunk c has the items from c * chunk on.
struct DigitPass {
  int64_t n, chunk, chunks;
  int shift, digits;
  __device__ int digit(uint32_t key) const { return int(key >> shift & uint32_t(digits - 1)); }
  __device__ int64_t end(int64_t c) const { return (c + 1) * chunk < n ? (c + 1) * chunk : n; }
};

// Lane l receives the sum of x over lanes 0 .. l.
__device__ inline int32_t warp_scan(int32_t x) {
  const int lane = threadIdx.x % warp_size;
  for (int distance = 1; distance < warp_size; distance *= 2) {
    const int32_t left = __shfl_up_sync(whole_warp, x, distance);
    if (lane >= distance) x += left;
  }
  return x;
}

// The sum of x over the block's threads before this one, and over all of them.
template <int threads>
__device__ inline int32_t block_scan(int32_t x, int32_t& total) {
  __shared__ int32_t part[threads / warp_size];
  const int warp = threadIdx.x / warp_size;
  const int32_t up_to_here = warp_scan(x);
  if (threadIdx.x % warp_size == warp_size - 1) part[warp] = up_to_here;
  __syncthreads();
  int32_t before = up_to_here - x;
  total = 0;
  for (int w = 0; w < threads / warp_size; ++w) {
    if (w < warp) before += part[w];
    total += part[w];
  }
  __syncthreads();  // nobody may write `part` again before all have read
  return before;
}

// count[d][c]: how many items of chunk c have digit d.
template <class Key>
__global__ void count_digits(Key key, const int32_t* from, DigitPass pass, int32_t* count) {
  DYNAMIC_SHARED(int32_t, counts);  // (warps, digits)
  const int lane = threadIdx.x % warp_size;
  const int64_t c = global_index() / warp_size;
  if (c >= pass.chunks) return;
  int32_t* mine = counts + threadIdx.x / warp_size * pass.digits;
  for (int d = lane; d < pass.digits; d += warp_size) mine[d] = 0;
  __syncwarp();
  for (int64_t i = c * pass.chunk + lane; i < pass.end(c); i += warp_size)
    atomicAdd(&mine[pass.digit(key(from ? from[i] : int32_t(i)))], 1);
  __syncwarp();
  for (int d = lane; d < pass.digits; d += warp_size) count[d * pass.chunks + c] = mine[d];
}

// count[d][c] becomes the number of items of digit d in the chunks before c, total[d] that in all. A warp per digit.
static __global__ void scan_chunks(DigitPass pass, int32_t* count, int32_t* total) {
  const int lane = threadIdx.x % warp_size;
  const int64_t d = global_index() / warp_size;
  if (d >= pass.digits) return;
  int32_t before = 0;
  for (int64_t first = 0; first < pass.chunks; first += warp_size) {
    const int64_t c = first + lane;
    const int32_t here = c < pass.chunks ? count[d * pass.chunks + c] : 0;
    const int32_t up_to_here = warp_scan(here);
    if (c < pass.chunks) count[d * pass.chunks + c] = before + up_to_here - here;
    before += __shfl_sync(whole_warp, up_to_here, warp_size - 1);
  }
  if (lane == 0) total[d] = before;
}

// Every item goes behind those with a lower digit, those with its digit in earlier chunks, and those with its digit
// before it in its chunk.
template <class Key>
__global__ void move_items(Key key, const int32_t* from, DigitPass pass, const int32_t* count, const int32_t* total,
                           int32_t* to) {
  DYNAMIC_SHARED(int32_t, shared);
  int32_t* lower = shared;  // (digits): items with a lower digit
  for (int32_t first = 0, before = 0, sum; first < pass.digits; first += sort_threads, before += sum) {
    const int d = first + int(threadIdx.x);
    const int32_t here = block_scan<sort_threads>(d < pass.digits ? total[d] : 0, sum);
    if (d < pass.digits) lower[d] = before + here;
  }
  __syncthreads();
  const int lane = threadIdx.x % warp_size;
  const int64_t c = global_index() / warp_size;
  if (c >= pass.chunks) return;
  int32_t* next = shared + (1 + threadIdx.x / warp_size) * pass.digits;  // (digits): where the next one goes
  for (int d = lane; d < pass.digits; d += warp_size) next[d] = lower[d] + count[d * pass.chunks + c];
  __syncwarp();
  const int64_t end = pass.end(c);
  //@begin move
  for (int64_t first = c * pass.chunk; first < end; first += warp_size) {
    const bool any = first + lane < end;
    const int32_t i = int32_t(first + lane);
    const int32_t item = any && from ? from[i] : i;
    const int digit = any ? pass.digit(key(item)) : pass.digits;
    const unsigned same = __match_any_sync(whole_warp, unsigned(digit));
    const int earlier = __popc(same & ((1u << lane) - 1));
    if (any) to[next[digit] + earlier] = item;
    __syncwarp();  // all have read next before it moves on
    if (any && earlier == 0) next[digit] += __popc(same);
    __syncwarp();
  }
  //@end move
}

// The numbers 0 .. n-1 ordered by key(i), of which `bits` bits count; equal ones stand as in `from` (null: ascending).
template <class Key>
Scratch<int32_t> stable_sort(int64_t n, Key key, int bits, const int32_t* from = nullptr) {
  constexpr int most_bits = 10;  // of a digit: one pass for up to 1023 groups
  const int passes = bits > most_bits ? (bits + most_bits - 1) / most_bits : 1;
  const int digit_bits = bits > 1 ? (bits + passes - 1) / passes : 1;
  DigitPass pass{.n = n, .chunk = 256, .chunks = 1, .shift = 0, .digits = 1 << digit_bits};
  // The table of counts must not outgrow the items, nor its rows the warp that scans each.
  if (pass.chunk < pass.digits) pass.chunk = pass.digits;
  if (pass.chunk < (n + 1023) / 1024) pass.chunk = (n + 1023) / 1024;
  if (n > 0) pass.chunks = (n + pass.chunk - 1) / pass.chunk;
  const unsigned blocks = blocks_for(pass.chunks, sort_warps);
  const size_t digits_bytes = size_t(pass.digits) * sizeof(int32_t);
  Scratch<int32_t> count(pass.digits * pass.chunks), total(pass.digits), order(n), other(n);
  for (int p = 0; p < passes; ++p, pass.shift += digit_bits) {
    launch(count_digits<Key>, blocks, sort_threads, sort_warps * digits_bytes, stream(), key, from, pass, count.data());
    launch(scan_chunks, blocks_for(pass.digits, sort_warps), sort_threads, 0, stream(), pass, count.data(),
           total.data());
    launch(move_items<Key>, blocks, sort_threads, (1 + sort_warps) * digits_bytes, stream(), key, from, pass,
           count.data(), total.data(), other.data());
    std::swap(order, other);
    from = order.data();
  }
  return order;
}

}  // namespace switchyard::gpu
