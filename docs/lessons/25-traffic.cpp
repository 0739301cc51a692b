// Chapter 25: what attention of T queries over T keys, one head of width 64, reads from memory; and how many operations
// it does with each byte.
#include <cstdio>
#include <initializer_list>

constexpr double D = 64, MB = 1e6;

// Keys and values that tiles of `tile` queries read: all of the tiles of `tile` keys up to their own.
double tiles(int T, int tile, int bytes) {
  double read = 0;
  for (int first = 0; first < T; first += tile) read += 2 * D * bytes * (first + tile < T ? first + tile : T);
  return read;
}

int main() {
  std::printf("MB      a table of scores    plain, f32    tiled, f32    tensor cores, bf16\n");
  for (int T : {1024, 4096, 16384}) {
    const double table = 4.0 * T * T * 4;  // written, read by the softmax, written, read by the product
    std::printf("T %5d %18.1f %13.1f %13.1f %21.1f\n", T, table / MB, tiles(T, 1, 4) / MB, tiles(T, 64, 4) / MB,
                tiles(T, 128, 2) / MB);
  }
  std::printf("\noperations a byte of keys and values\n");
  const auto row = [](const char* name, int queries, int bytes) {
    std::printf("%-36s %5.1f\n", name, 4 * D * queries / (2 * D * bytes));
  };
  row("plain, f32, a query", 1, 4), row("tiled, f32, 64 queries", 64, 4);
  row("tensor cores, bf16, 128 queries", 128, 2);
  row("one new token, bf16, a query", 1, 2), row("the same, 4 heads that share a key", 4, 2);
}
