// Chapter 8: six tokens look back at each other. --late-mask: the mask comes after the softmax.
#include <fmt/ranges.h>

#include "docs/lessons/six_tokens.h"

using namespace switchyard;

// Token i's score for token j, with its logits as query and twice a unit vector as key.
std::vector<double> scores(size_t i, size_t last = 1) {
  std::vector<double> score;
  for (size_t j = 0; j < 6; ++j) score.push_back(six_logits[4 * i + (j == 5 ? last : j % 4)]);
  return score;
}
// The weights of query i. `late`: what lies ahead is masked too late.
std::vector<double> weights(const std::vector<double>& score, size_t i, bool late) {
  std::vector<double> w(6, 0.0);
  double sum = 0;
  //@begin plain
  for (size_t j = 0; j < 6; ++j) sum += j <= i || late ? std::exp(score[j]) : 0;
  for (size_t j = 0; j <= i; ++j) w[j] = std::exp(score[j]) / sum;
  //@end plain
  return w;
}
// One query, key by key; the value of token j is the number j.
void running(const std::vector<double>& score, size_t n) {
  double largest = -HUGE_VAL, sum = 0, y = 0;
  for (size_t j = 0; j < n; ++j) {
    //@begin running
    const double most = std::max(largest, score[j]);
    const double shrink = std::exp(largest - most), p = std::exp(score[j] - most);
    sum = sum * shrink + p;
    y = y * shrink + p * double(j);
    largest = most;
    //@end running
    fmt::print("  key {}  largest {:.1f}  sum {:.3f}  y {:.3f}  y/sum {:.3f}\n", j, largest, sum, y, y / sum);
  }
}
// The same by the kernel: queries, keys and values side by side, as the projection writes them. (1, 6, 3, 4)
std::vector<double> answers(size_t last) {
  Tensor x = Tensor::zeros({1, 6, 3, 4}, Dtype::f64);
  for (size_t t = 0; t < 6; ++t) {
    double* at = x.data<double>() + 12 * t;
    std::copy_n(&six_logits[4 * t], 4, at);
    at[4 + (t == 5 ? last : t % 4)] = 2, at[8] = double(t);
  }
  return attention(x, {1, 1, 4}).y.values();
}
void maps(bool late) {
  fmt::print("       weight of token 0 to 5                   sum    answer\n");
  const std::vector<double> got = answers(1), other_got = answers(3);
  int changed = 0;
  for (size_t i = 0; i < 6; ++i) {
    const std::vector<double> w = weights(scores(i), i, late), other = weights(scores(i, 3), i, late);
    double sum = 0, y = 0;
    for (size_t j = 0; j < 6; ++j) sum += w[j], y += w[j] * double(j);
    fmt::print("  t{}  [{:.3f}]  {:.3f}  {:.3f}\n", i, fmt::join(w, " "), sum, late ? y : got[4 * i]);
    changed += i < 5 && (late ? w != other : got[4 * i] != other_got[4 * i]);
  }
  fmt::print("with another sixth token, {} of the first five answers change\n", changed);
}
void all() {
  maps(false);
  fmt::print("token 2, key by key\n"), running(scores(2), 3);
}
int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", all}, {"--late-mask", [] { maps(true); }}});
}
