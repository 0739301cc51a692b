// Causal attention in tiles (Rabe and Staats 2021; Dao et al. 2022, "FlashAttention"): a block of queries meets one
// tile of keys after another and keeps a running softmax, so the T x T matrix of scores is never in memory. The
// backward computes the probabilities again from the logsumexp.
//
// Inside, everything is transposed: a score tile has a row for each key and a column for each query. The lanes of a
// vector are then different queries, so maxima and sums need no step across lanes, K and V are read as they lie, and
// no head width is special.
#include "tensor/cpu/attention_last.h"
#include "tensor/cpu/attention_products.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

constexpr int64_t tile = 64;           // queries in a block, and keys in a tile away from the diagonal
constexpr int64_t diagonal_tile = 16;  // keys in a tile on it, where half a tile would be masked

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// A block of queries that meet the same keys, and each tile of keys that it meets.
template <class T>
struct Block {
  int64_t first, count;  // queries
  int64_t width;         // count in whole vectors
  int64_t position;      // of the first query, among the keys
  int64_t begin, end;    // the keys that some query sees
  int64_t edge;          // where the window begins: query i sees nothing before key edge + i

  // Queries of one head from index * tile on.
  static Block of_queries(const AttentionShape& s, int64_t index) {
    const int64_t first = index * tile, count = least(tile, s.Tq - first), position = s.Tk - s.Tq + first;
    const int64_t edge = position + 1 - least(s.window, s.Tk + tile);  // without a window, before every key
    return {first, count, round_up(count, lanes<T>), position, edge > 0 ? edge : 0, position + count, edge};
  }
  // Keys of the tile that begins at `key` and may go up to `last`; large where no query is masked.
  int64_t tile_keys(int64_t key, int64_t last) const {
    //@begin tile-keys
    const bool all_see_it = key + tile <= position + 1 && key >= edge + count - 1;
    return least(all_see_it ? tile : diagonal_tile, last - key);
    //@end tile-keys
  }
  // Queries before this one see nothing of a tile that begins at `key`; rounded down to whole vectors.
  int64_t first_column(int64_t key) const { return key > position ? (key - position) / lanes<T> * lanes<T> : 0; }
  // Nor do those from this one on of a tile that ends before `key`; rounded up.
  int64_t last_column(int64_t key) const { return least(width, round_up(key - edge, lanes<T>)); }
  // Scores of n keys that lie behind the query, or before its window, become -inf.
  void mask(int64_t key, int64_t n, Wide<T>* scores) const {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < least(key + j - position, width); ++i) scores[j * tile + i] = -__builtin_inf();
      for (int64_t i = key + j - edge + 1; i < width; ++i) scores[j * tile + i] = -__builtin_inf();
    }
  }
};

// Calls f(i, scratch) for i = 0 .. n-1, each thread with `elements` of scratch to itself.
template <class T, class F>
void parallel_with_scratch(int64_t n, int64_t elements, F&& f) {
  const int64_t workers = least(n, threads());
  const std::shared_ptr<Storage> scratch = allocate(size_t(workers * elements + 1) * sizeof(Wide<T>), Device::cpu);
  int64_t next = 0;
  parallel_for(workers, [&](int64_t worker) {
    for (int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < n;)
      f(i, static_cast<Wide<T>*>(scratch->data) + worker * elements);
  });
}

// Turns the scores of n keys, one vector of queries wide, into exponentials; returns their sum.
template <class T>
Vec<T> exponentials(int64_t n, Vec<T> shift, T* scores) {
  Vec<T> total{};
  for (int64_t j = 0; j < n; ++j, scores += tile) {
    const Vec<T> p = exp<T>(load(scores) - shift);
    store<T>(scores, p);
    total += p;
  }
  return total;
}

// What the forward keeps of a block, each column one query.
template <class T>
struct Running {
  T *q, *scores, *y;  // (D, tile), (tile, tile), (D, tile)
  static constexpr T lowest = -__builtin_inf();
  T largest[tile], sum[tile];  // of the scores so far; of their exponentials

  static int64_t elements(int64_t D) { return 2 * D * tile + tile * tile; }
  Running(T* scratch, int64_t D) : q(scratch), scores(q + D * tile), y(scores + tile * tile) {
    for (int64_t i = 0; i < tile; ++i) largest[i] = lowest, sum[i] = 0;
    for (int64_t i = 0; i < D * tile; ++i) y[i] = 0;
  }
  // Turns n rows of scores into exponentials, in some columns, and brings sum and y up to the new maximum.
  void take(int64_t n, int64_t D, int64_t column, int64_t last_column) {
    for (int64_t i = column; i < last_column; i += lanes<T>) {
      const Vec<T> before = load(largest + i);
      Vec<T> most = before;
      for (int64_t j = 0; j < n; ++j) most = maximum<T>(most, load(scores + j * tile + i));
      //@begin running
      const Vec<T> shift = most == lowest ? Vec<T>{} : most;  // no -inf - -inf
      const Vec<T> shrink = exp<T>(before - shift);
      store<T>(largest + i, most);
      const Vec<T> total = exponentials<T>(n, shift, scores + i);
      store<T>(sum + i, load(sum + i) * shrink + total);
      //@end running
      for (int64_t d = 0; d < D; ++d) store<T>(y + d * tile + i, load(y + d * tile + i) * shrink);
    }
  }
  void divide_by_sum(int64_t D, int64_t width) {
    for (int64_t i = 0; i < width; i += lanes<T>) {
      const Vec<T> factor = T(1) / load(sum + i);
      for (int64_t d = 0; d < D; ++d) store<T>(y + d * tile + i, load(y + d * tile + i) * factor);
    }
  }
};

// One block. All pointers are to its first query, or to the first key of its key/value head.
template <class T>
void attend(const AttentionShape& s, const Block<T>& block, const T* q, const T* k, const T* v, T* y,
            Wide<T>* logsumexp, Wide<T>* scratch) {
  using W = Wide<T>;
  const int64_t D = s.D;
  Running<W> run(scratch, D);
  W* const from_bf16 = scratch + Running<W>::elements(D);
  transpose(block.count, block.width, D, q, s.query_row, W(s.scale), run.q, tile);
  for (int64_t key = block.begin, n; key < block.end; key += n) {
    n = block.tile_keys(key, block.end);
    const int64_t column = block.first_column(key), last = block.last_column(key + n), at = key * s.key_row;
    const int64_t cols = last - column;
    const Left<W> keys = wide_rows(n, D, k + at, s.key_row, from_bf16);
    product(n, cols, D, keys, run.q + column, tile, false, run.scores + column, tile);
    block.mask(key, n, run.scores);
    run.take(n, D, column, last);
    const Left<W> values = wide_rows(n, D, v + at, s.key_row, from_bf16);
    product(D, cols, n, transposed(values), run.scores + column, tile, true, run.y + column, tile);
  }
  run.divide_by_sum(D, block.width);
  transpose(D, D, block.count, run.y, tile, W(1), y, s.H * D);
  for (int64_t i = 0; i < block.count; ++i) logsumexp[i] = run.largest[i] + log_of(run.sum[i]);
}

// What the backward keeps of a block of queries, by column (D, tile) and by row (tile, width), and of a chunk of keys.
template <class T>
struct Gradients {
  using W = Wide<T>;
  int64_t D, width;                // width: D in whole vectors
  W *qt, *dyt, *dqt;               // by column
  W *q, *dy;                       // by row
  W *p, *ds;                       // (tile, tile): probabilities, gradients of the scores
  W *dk, *dv;                      // (keys, width)
  W *key, *value;                  // (tile, D), where they come as bf16
  W logsumexp[tile], delta[tile];  // delta = dy . y

  static int64_t elements(int64_t D, int64_t keys) {
    return 3 * D * tile + 2 * (tile + keys) * round_up(D, lanes<T>) + 2 * tile * tile + of_bf16<T> * 2 * tile * D;
  }
  Gradients(W* scratch, int64_t D_, int64_t keys) : D(D_), width(round_up(D_, lanes<T>)) {
    qt = scratch, dyt = qt + D * tile, dqt = dyt + D * tile, p = dqt + D * tile, ds = p + tile * tile;
    q = ds + tile * tile, dy = q + tile * width, dk = dy + tile * width, dv = dk + keys * width;
    key = dv + keys * width, value = key + tile * D;
    for (int64_t i = 0; i < 2 * keys * width; ++i) dk[i] = 0;
  }
  void load_block(const AttentionShape& s, const Block<T>& block, int64_t b, int64_t h, const T* q_, const T* y_,
                  const W* logsumexp_, const T* dy_) {
    const T* from_q = q_ + b * s.query_batch + block.first * s.query_row + h * D;
    const int64_t at = ((b * s.Tq + block.first) * s.H + h) * D, row = s.H * D;
    transpose(block.count, block.width, D, from_q, s.query_row, W(s.scale), qt, tile);
    transpose(block.count, block.width, D, dy_ + at, row, W(1), dyt, tile);
    transpose(block.count, block.width, D, y_ + at, row, W(1), dqt, tile);  // only for delta
    for (int64_t i = 0; i < block.width; i += lanes<T>) {
      Vec<T> sum{};
      for (int64_t d = 0; d < D; ++d) sum += load(dyt + d * tile + i) * load(dqt + d * tile + i);
      store(delta + i, sum);
    }
    for (int64_t i = 0; i < D * tile; ++i) dqt[i] = 0;
    for (int64_t i = 0; i < tile; ++i)
      logsumexp[i] = i < block.count ? logsumexp_[(b * s.H + h) * s.Tq + block.first + i] : 0;
    for (int64_t i = 0; i < block.count; ++i) {
      copy_row(from_q + i * s.query_row, q + i * width);
      copy_row(dy_ + at + i * row, dy + i * width);
    }
  }
  void copy_row(const T* from, W* to) const {
    for (int64_t d = 0; d < D; ++d) to[d] = from[d];
    for (int64_t d = D; d < width; ++d) to[d] = 0;
  }
  // From scores to probabilities, and from their gradients to those of the scores.
  void through_softmax(int64_t n, int64_t column, int64_t last_column) {
    for (int64_t i = column; i < last_column; i += lanes<T>) {
      const Vec<T> log_sum = load(logsumexp + i), mean = load(delta + i);
      for (int64_t at = i; at < n * tile; at += tile) {
        //@begin softmax-backward
        const Vec<T> probability = exp<W>(load(p + at) - log_sum);
        store(p + at, probability);
        store(ds + at, probability * (load(ds + at) - mean));
        //@end softmax-backward
      }
    }
  }
  // One tile: n keys from k and v, whose gradients are row `at` on.
  void add_tile(const AttentionShape& s, const Block<T>& block, int64_t first_key, int64_t n, const T* k, const T* v,
                int64_t at) {
    const int64_t column = block.first_column(first_key), last = block.last_column(first_key + n), cols = last - column;
    const Left<W> keys = wide_rows(n, D, k, s.key_row, key), values = wide_rows(n, D, v, s.key_row, value);
    product(n, cols, D, keys, qt + column, tile, false, p + column, tile);
    product(n, cols, D, values, dyt + column, tile, false, ds + column, tile);
    block.mask(first_key, n, p);
    through_softmax(n, column, last);
    const int64_t seen = least(block.count, last) - column;
    product<W>(n, width, seen, {p + column, tile, 1}, dy + column * width, width, true, dv + at * width, width);
    product<W>(n, width, seen, {ds + column, tile, 1}, q + column * width, width, true, dk + at * width, width);
    product(D, cols, n, transposed(keys), ds + column, tile, true, dqt + column, tile);
  }
};

// How the backward is cut: an item is a chunk of the keys of one key/value head in one batch, with all query heads that
// read it. Each chunk has its own part of dq; where there is only one chunk, and no bf16, that is dq itself.
template <class T>
struct Split {
  int64_t items, chunks, keys;  // keys in a chunk
  Wide<T>* dq;
  int64_t row, batch, part;  // strides of dq; from one part to the next
  explicit Split(const AttentionShape& s) {
    const int64_t heads = s.B * s.K, wanted = heads > 0 && heads < 32 ? 32 / heads : 1;
    const int64_t tiles = (s.Tk + tile - 1) / tile;
    keys = tile * ((tiles + wanted - 1) / wanted);
    chunks = keys > 0 ? (s.Tk + keys - 1) / keys : 0;
    items = heads * chunks;
  }
};

template <class T>
void backward_item(const AttentionShape& s, const Split<T>& split, int64_t item, const T* q, const T* k, const T* v,
                   const T* y, const Wide<T>* logsumexp, const T* dy, T* dk, T* dv, Wide<T>* scratch) {
  const int64_t D = s.D, group = s.H / s.K;
  const int64_t b = item % (s.B * s.K) / s.K, kv = item % s.K, chunk = item / (s.B * s.K);
  const int64_t begin = chunk * split.keys, end = least(begin + split.keys, s.Tk);
  const int64_t keys_at = b * s.key_batch + kv * D;
  Gradients<T> run(scratch, D, split.keys);
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h)
    for (int64_t index = 0; index * tile < s.Tq; ++index) {
      const Block block = Block<T>::of_queries(s, index);
      if (block.end <= begin || block.begin >= end) continue;
      run.load_block(s, block, b, h, q, y, logsumexp, dy);
      const int64_t last = least(end, block.end);
      for (int64_t key = begin > block.begin ? begin : block.begin, n; key < last; key += n) {
        n = block.tile_keys(key, last);
        const int64_t at = keys_at + key * s.key_row;
        run.add_tile(s, block, key, n, k + at, v + at, key - begin);
      }
      Wide<T>* out = split.dq + chunk * split.part + b * split.batch + block.first * split.row + h * D;
      transpose(D, D, block.count, run.dqt, tile, Wide<T>(s.scale), out, split.row);
    }
  for (int64_t key = begin; key < end; ++key)
    for (int64_t d = 0; d < D; ++d) {
      dk[keys_at + key * s.key_row + d] = T(Wide<T>(s.scale) * run.dk[(key - begin) * run.width + d]);
      dv[keys_at + key * s.key_row + d] = T(run.dv[(key - begin) * run.width + d]);
    }
}

// dq = the sum of its parts, those of the chunks that the query's block has met.
template <class T>
void sum_parts(const AttentionShape& s, const Split<T>& split, T* dq) {
  const int64_t blocks = (s.Tq + tile - 1) / tile, cols = s.H * s.D;
  parallel_for(s.B * blocks, [&](int64_t item) {
    const Block block = Block<T>::of_queries(s, item % blocks);
    for (int64_t i = block.first; i < block.first + block.count; ++i) {
      T* out = dq + item / blocks * s.query_batch + i * s.query_row;
      const int64_t met = block.begin / split.keys;  // the first
      const Wide<T>* part = split.dq + item / blocks * split.batch + i * split.row;
      for (int64_t c = 0; c < cols; c += lanes<T>) {
        Vec<T> sum = load_up_to(part + met * split.part + c, cols - c);
        for (int64_t chunk = met + 1; chunk * split.keys < block.end; ++chunk)
          sum += load_up_to(part + chunk * split.part + c, cols - c);
        store_up_to(out + c, sum, cols - c);
      }
    }
  });
}

}  // namespace

// The longest blocks of a head, those of its last queries, go first.
template <class T>
void attention(const AttentionShape& s, const T* q, const T* k, const T* v, T* y, Wide<T>* logsumexp) {
  const int64_t D = s.D, group = s.H / s.K, blocks = (s.Tq + tile - 1) / tile;
  if (s.Tq == 1 && s.Tk > 1) {  // in generation: a text of one token is trained on by tiles, as its backward does
    parallel_with_scratch<T>(s.B * s.K, group * s.Tk, [&](int64_t i, Wide<T>* scratch) {
      const int64_t b = i / s.K, kv = i % s.K, keys = b * s.key_batch + kv * D, first = b * s.H + kv * group;
      attend_last(s, group, q + b * s.query_batch + kv * group * D, k + keys, v + keys, y + first * D,
                  logsumexp + first, scratch);
    });
    return;
  }
  const int64_t elements = Running<T>::elements(D) + of_bf16<T> * D * tile;
  parallel_with_scratch<T>(s.B * s.H * blocks, elements, [&](int64_t i, Wide<T>* scratch) {
    const Block block = Block<T>::of_queries(s, blocks - 1 - i % blocks);
    const int64_t h = i / blocks % s.H, b = i / blocks / s.H, keys = b * s.key_batch + h / group * D;
    attend(s, block, q + b * s.query_batch + block.first * s.query_row + h * D, k + keys, v + keys,
           y + ((b * s.Tq + block.first) * s.H + h) * D, logsumexp + (b * s.H + h) * s.Tq + block.first, scratch);
  });
}

template <class T>
void attention_backward(const AttentionShape& shape, const T* q, const T* k, const T* v, const T* y,
                        const Wide<T>* logsumexp, const T* dy, T* dq, T* dk, T* dv) {
  Split<T> split(shape);
  std::shared_ptr<Storage> parts;
  if (of_bf16<T> || split.chunks > 1) {
    split.row = shape.H * shape.D, split.batch = shape.Tq * split.row, split.part = shape.B * split.batch;
    parts = allocate(size_t(split.chunks * split.part + 1) * sizeof(Wide<T>), Device::cpu);
    split.dq = static_cast<Wide<T>*>(parts->data);
  } else {
    split.row = shape.query_row, split.batch = shape.query_batch, split.part = 0;
    split.dq = static_cast<Wide<T>*>(static_cast<void*>(dq));
  }
  parallel_with_scratch<T>(split.items, Gradients<T>::elements(shape.D, split.keys), [&](int64_t i, Wide<T>* scratch) {
    backward_item(shape, split, i, q, k, v, y, logsumexp, dy, dk, dv, scratch);
  });
  if (parts) sum_parts(shape, split, dq);
}

#define INSTANTIATE(T)                                                                                            \
  template void attention(const AttentionShape&, const T*, const T*, const T*, T*, Wide<T>*);                     \
  template void attention_backward(const AttentionShape&, const T*, const T*, const T*, const T*, const Wide<T>*, \
                                   const T*, T*, T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
