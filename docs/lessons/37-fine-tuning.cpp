// Chapter 37: which tokens of a conversation are learnt, what that does to the loss and its gradient, and how sure a
// share of right answers is.
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "train/marking.h"

using namespace switchyard;

// Text on one line.
std::string shown(const std::string& text) {
  std::string line;
  for (char c : text) line += c == '\n' ? std::string("\\n") : std::string(1, c);
  return line;
}

void pieces() {
  const Conversation conversation{{Role::system, "Be brief."},
                                  {Role::user, "Where is the Zoo?"},
                                  {Role::assistant, "In Kestrel."},
                                  {Role::user, "And the Park?"},
                                  {Role::assistant, "There too."}};
  fmt::print("learnt  piece\n");
  for (const Piece& piece : pieces_of(conversation))
    fmt::print("{:<6}  |{}|\n", piece.answer ? "yes" : "no", shown(piece.text) + (piece.answer ? "<|end|>" : ""));
}

// Six tokens of a vocabulary of four. The first four ask and are not learnt: their target is -1.
void losses() {
  const std::vector<double> logits = {2, 1, 0, 0, 0, 0, 3, 1, 1, 0, 0, 2, 0, 1, 1, 0, 0, 2, 1, 0, 1, 0, 0, 2};
  const std::vector<int32_t> said = {0, 2, 1, 2, 1, 3}, learnt = {-1, -1, -1, -1, 1, 3};
  for (const auto& [name, target] : {std::pair("all", said), {"answer", learnt}}) {
    const Var x(Tensor::from(logits, {6, 4}, Dtype::f64), true);
    const Var each = cross_entropy(x, Tensor::from(target, {6}));
    const double n = double(std::count_if(target.begin(), target.end(), [](int32_t t) { return t >= 0; }));
    const Var loss = scale(sum(each), 1 / n);
    const std::vector<double> value = each.value().values();
    const double mean = loss.value().item();
    backward(loss);
    const std::vector<double> gradient = x.grad().values();
    fmt::print("\n{:<8} loss    {:.3f}   mean of {:.0f}: {:.3f}\n", name, fmt::join(value, "  "), n, mean);
    fmt::print("       gradient ");
    for (size_t t = 0; t < 6; ++t) {
      double size = 0;
      for (size_t v = 0; v < 4; ++v) size += std::abs(gradient[4 * t + v]);
      fmt::print("{:.3f}  ", size);
    }
  }
  fmt::print("\n");
}

void intervals() {
  fmt::print("\nright of asked   95 % interval\n");
  for (int64_t asked : {10, 100, 300, 1000}) {
    const Interval i = wilson(asked * 8 / 10, asked);
    fmt::print("{:4} of {:4}     {:.1f} to {:.1f} %\n", asked * 8 / 10, asked, 100 * i.low, 100 * i.high);
  }
}

int main() {
  pieces();
  losses();
  intervals();
}
