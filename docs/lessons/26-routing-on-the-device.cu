// Chapter 26: the six tokens' plan, made on the device, and what is computed with it. --scatter: slots that add.
#include "docs/lessons/device_lesson.cuh"
#include "tensor/cuda/counting_sort.cuh"

using namespace switchyard::gpu;
using Ints = std::vector<int32_t>;

const std::vector<float> six = {2, 1, 0, -1, 1, 0, 2, 0, 0, 1.5, 1.5, .5, 2, 0, 1, 0, 1, 2, 0, 0, 1.5, .5, -1, .5};

void row(const char* name, const Ints& x, int first = 0, int n = 99) {
  std::printf("%-15s", name);
  for (int i = first; i < int(x.size()) && i < first + n; ++i) std::printf("%3d", x[i]);
  std::printf("\n");
}

int six_tokens() {
  const OnDevice<float> x(six), probability(24), w(whole_numbers<float>(96, 1)), slots(72), y(36);
  const OnDevice<int32_t> token(12), expert(12), count(12), total(4), order(12), offset(5), proposal(12),
      slot_token(12), first(7), token_slot(12), proposed(4), dropped(4);
  softmax_top_k<float>(6, 4, 2, x.data(), probability.data(), expert.data());
  proposing_tokens<float>(12, 2, token.data());
  row("expert", expert.read());
  const DigitPass pass{.n = 12, .chunk = 4, .chunks = 3, .shift = 0, .digits = 4};
  const GroupOf key{expert.data(), 4};
  launch(count_digits<GroupOf>, 1, sort_threads, 64, stream(), key, nullptr, pass, count.data());
  for (int e = 0; e < 4; ++e) row("  in each chunk", count.read(), 3 * e, 3);
  launch(scan_chunks, 1, sort_threads, 0, stream(), pass, count.data(), total.data());
  for (int e = 0; e < 4; ++e) row("  before it", count.read(), 3 * e, 3);
  row("  in all", total.read());
  launch(move_items<GroupOf>, 1, sort_threads, 80, stream(), key, nullptr, pass, count.data(), total.data(),
         order.data());
  row("sorted", order.read());
  plan<float>({12, 6, 4, 12, token.data(), expert.data(), nullptr, offset.data(), proposal.data(), slot_token.data(),
               first.data(), token_slot.data(), proposed.data(), dropped.data()});
  row("slot_proposal", proposal.read()), row("slot_token", slot_token.read()), row("offset", offset.read());
  grouped_forward<float>(12, 4, 6, 4, offset.data(), slot_token.data(), x.data(), w.data(), slots.data());
  combine<float>(6, 6, first.data(), token_slot.data(), nullptr, slots.data(), y.data());
  const Ints asked = expert.read();
  const std::vector<float> matrix = w.read();
  std::vector<float> right(36);
  for (int i = 0; i < 12 * 24; ++i)
    right[i / 48 * 6 + i / 4 % 6] += matrix[asked[i / 24] * 24 + i % 24] * six[i / 48 * 4 + i % 4];
  const bool equal = difference(y.read(), right, 6).empty();
  return std::printf("the tokens' sums are %s\n", equal ? "those of a plain loop" : "wrong"), 0;
}

//@begin scatter
// A block a slot, a thread a column: every slot adds to its token's row.
__global__ void scatter(const int* token, const float* x, float* y) {
  const int slot = blockIdx.x, c = threadIdx.x, cols = blockDim.x;
  y[token[slot] * cols + c] += x[slot * cols + c];
}
//@end scatter

int scattered() {
  const OnDevice<int32_t> token({0, 1, 3, 4, 5, 0, 2, 4, 5, 1, 2, 3});
  const OnDevice<float> x(std::vector<float>(48, 1)), y(std::vector<float>(24, 0));
  const auto run = [&] { launch(scatter, 12, 4, 0, stream(), token.data(), x.data(), y.data()); };
  std::printf("%s\n", wrapped(complaint_about(run)).c_str());
  for (int k = 2, differ = 0; k <= 8; k *= 2, differ = 0) {
    for (int i = 0; i < 1000; ++i) {
      float up = 0, down = 0;
      for (int j = 0; j < k; ++j) up += 1.f / (i + 7 * j + 1), down += 1.f / (i + 7 * (k - j) - 6);
      differ += up != down;
    }
    std::printf("%d slots a token: %3d of 1000 sums change with the order\n", k, differ);
  }
  return 0;
}

// Exercise: write this. One warp; rank[i]: how many of the proposals before i ask for its expert, -1 if it has none.
__global__ void mine(int n, int E, const int32_t* expert, int32_t* rank) {
  DYNAMIC_SHARED(int32_t, seen);  // (E)
  for (int e = threadIdx.x; e < E; e += warp_size) seen[e] = 0;
  for (int i = threadIdx.x; i < n; i += warp_size) rank[i] = expert[i] < 0 ? -1 : 0;
}

std::string wrong_ranks(int n, int E) {
  Ints expert, seen(E);
  std::vector<float> right;
  for (int i = 0; i < n; ++i) expert.push_back(i * i * 7 % (E + 1) - 1);
  for (int e : expert) right.push_back(float(e < 0 ? -1 : seen[e]++));
  std::string wrong;
  for (int turn = 0; turn < 2 && wrong.empty(); ++turn) {
#ifndef __CUDACC__  // a device runs its threads in any order, the emulator in this one
    cuda_emulator::set_order(turn ? cuda_emulator::Order::reverse : cuda_emulator::Order::forward);
#endif
    const OnDevice<int32_t> proposals(expert), rank(Ints(n, -2));
    const auto run = [&] { launch(mine, 1, warp_size, 4 * E, stream(), n, E, proposals.data(), rank.data()); };
    wrong = complaint_about(run);
    const Ints got = rank.read();
    if (wrong.empty()) wrong = difference({got.begin(), got.end()}, right, n);
  }
  return wrong;
}
int exercise() { return verdict(wrong_ranks, {{1, 1}, {31, 4}, {32, 4}, {33, 4}, {100, 1}, {257, 40}}); }
int main(int argc, char** argv) {
  return run_lesson(argc, argv, {{"", six_tokens}, {"--scatter", scattered}, {"--exercise", exercise}});
}
