// Chapter 25: the six tokens' attention by each step of the kernel. --exercise: yours.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/attention.h"

using namespace switchyard;
using namespace switchyard::gpu;

const std::vector<float> six = {2, 1, 0, -1, 1, 0, 2, 0, 0, 1.5, 1.5, .5, 2, 0, 1, 0, 1, 2, 0, 0, 1.5, .5, -1, .5};

// As in chapter 8: a query is the token's logits, a key twice a unit vector, a value its number. Rows are filled up.
template <class T>
void answers(const char* name, AttentionStep step) {
  std::vector<T> q(48), k(48), v(48);
  for (int i = 0; i < 24; ++i) q[i / 4 * 8 + i % 4] = T(six[i]);
  for (int t = 0; t < 6; ++t) k[8 * t + (t == 5 ? 1 : t % 4)] = T(2.f), v[8 * t] = T(float(t));
  const OnDevice<T> queries(q), keys(k), values(v), y(48);
  const OnDevice<float> logsumexp(6);
  attention_by<T>(step, {1, 6, 6, 1, 1, 8, 8, 48, 8, 48, 0.5}, queries.data(), keys.data(), values.data(), y.data(),
                  logsumexp.data());
  std::printf("%-18s", name);
  for (int t = 0; t < 6; ++t) std::printf(" %.4f", float(y.read()[8 * t]));
  std::printf("\n");
}

int six_tokens() {
  answers<float>("plain", AttentionStep::plain), answers<float>("tiled", AttentionStep::tiled);
  answers<float>("split keys", AttentionStep::split_keys);
  answers<bf16>("tensor cores, bf16", AttentionStep::tensor_cores);
  return 0;
}

struct KeysAndValues {  // of 32 columns
  const float *k, *v;
  unsigned* reads;
  __device__ float2 operator()(int j, int d) const {
    return atomicAdd(reads, 1u), make_float2(k[j * 32 + d], v[j * 32 + d]);
  }
};

// Exercise: write this. A block has four warps and four queries; lane d has column d. kv(j, d) reads a key's and its
// value's element: call it once a block, and share what it gives. Scores are q . k, not scaled; queries see j <= i.
__global__ void mine(int T, const float* q, KeysAndValues kv, float* y) {
  const int i = blockIdx.x * 4 + threadIdx.x / 32, d = threadIdx.x % 32;
  if (i < T) y[i * 32 + d] = q[i * 32 + d] + 0 * kv(i, d).x;
}

std::string wrong_answer(int T, int D) {
  const std::vector<float> q = whole_numbers<float>(T * D, 1), k = whole_numbers<float>(T * D, 2),
                           v = whole_numbers<float>(T * D, 3);
  std::vector<float> right(T * D), score = plain_product(T, T, D, q, k, true);
  for (int i = 0; i < T; ++i) {
    const float most = *std::max_element(&score[i * T], &score[i * T] + i + 1);
    float sum = 0;
    for (int j = 0; j <= i; ++j) sum += score[i * T + j] = std::exp(score[i * T + j] - most);
    for (int j = 0; j <= i; ++j)
      for (int d = 0; d < D; ++d) right[i * D + d] += score[i * T + j] / sum * v[j * D + d];
  }
  const OnDevice<float> dq(q), dk(k), dv(v), y(std::vector<float>(T * D, NAN));
  const OnDevice<unsigned> reads(std::vector<unsigned>{0});
  const KeysAndValues kv{dk.data(), dv.data(), reads.data()};
  const int blocks = (T + 3) / 4;
  const std::string wrong =
      complaint_about([&] { launch(mine, blocks, 128, 0, stream(), T, dq.data(), kv, y.data()); });
  if (!wrong.empty()) return wrong;
  std::vector<float> got = y.read();
  for (int i = 0; i < T * D; ++i)
    if (std::fabs(got[i] - right[i]) < 1e-4f) got[i] = right[i];
  if (reads.read()[0] > unsigned(blocks * T * D)) return "some block reads a key twice";
  return difference(got, right, D);
}
int exercise() { return verdict(wrong_answer, {{1, 32}, {4, 32}, {16, 32}, {17, 32}, {70, 32}}); }
int main(int argc, char** argv) { return run_lesson(argc, argv, {{"", six_tokens}, {"--exercise", exercise}}); }
