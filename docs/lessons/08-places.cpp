// Chapter 8: rotated queries and keys, shared keys, and the memory that attention holds.
#include <fmt/format.h>

#include "tensor/ops.h"
#include "tensor/random.h"

using namespace switchyard;

void turn() {  // one query and one key at every place, turned; the score of the query at place 4 for each key
  for (int64_t first : {0, 1000}) {
    Tensor x = Tensor::full({1, 5, 3, 4}, 1, Dtype::f64);
    const Tensor y = rope(x, {1, 1, 4}, first, 10000, 1);
    fmt::print("query at {:4}, keys 4 to 0 places before:", first + 4);
    for (int j = 0; j < 5; ++j) {
      double score = 0;
      for (int d = 0; d < 4; ++d) score += y.data<double>()[48 + d] * y.data<double>()[12 * j + 4 + d];
      fmt::print(" {:.4f}", score);
    }
    fmt::print("\n");
  }
}
void share() {  // four heads of queries on one of keys and values, and on four copies of it
  Tensor few({1, 6, 6, 4}), many({1, 6, 12, 4});
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t head = 0; head < 12; ++head)
      for (int64_t d = 0; d < 4; ++d) {
        const int64_t from = head < 4 ? head : head < 8 ? 4 : 5;  // queries, then keys, then values
        const double x = normal({1}, uint64_t((t * 6 + from) * 4 + d));
        many.data<float>()[(t * 12 + head) * 4 + d] = few.data<float>()[(t * 6 + from) * 4 + d] = float(x);
      }
  const bool same = attention(few, {4, 1, 4}).y.values() == attention(many, {4, 4, 4}).y.values();
  fmt::print("one shared key head and four copies of it: {} answers\n", same ? "the same" : "different");
}
void hold() {
  set_threads(1);
  for (int64_t T : {256, 1024, 4096}) {
    const Tensor x = Tensor::zeros({1, T, 3, 64});
    const int64_t before = pool_stats(Device::cpu).bytes_in_use;
    const Attended f = attention(x, {1, 1, 64});
    const int64_t result = pool_stats(Device::cpu).bytes_in_use - before;
    const int64_t work = pool_stats(Device::cpu).bytes_peak - before - result;
    fmt::print("T {:4}: all scores {:8} bytes, working memory {}\n", T, 4 * T * T, work);
  }
}
int main() { turn(), share(), hold(); }
