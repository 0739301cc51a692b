// Games: noughts and crosses, and Nim. The players choose among the legal moves, the better ones more often.
#include <fmt/format.h>

#include <algorithm>

#include "train/corpus/domains.h"

namespace switchyard::corpus {

namespace {

constexpr std::string_view players[] = {"Ada", "Ben", "Cleo", "Dan", "Eva", "Finn",
                                        "Gus", "Ida", "Jon",  "Kim", "Lea", "Max"};
constexpr int lines[8][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}};

struct Board {
  std::string cells = ".........";  // from the upper left: a3 b3 c3 a2 b2 c2 a1 b1 c1

  static std::string square(int cell) { return fmt::format("{}{}", "abc"[cell % 3], 3 - cell / 3); }
  std::string drawn() const {
    std::string text;
    for (int row = 0; row < 9; row += 3) text += fmt::format("{} {} {}\n", cells[row], cells[row + 1], cells[row + 2]);
    return text;
  }
  // The line that `side` has, or would have with a mark on `cell`; nullptr without one.
  const int* line_of(char side, int cell = -1) const {
    for (const auto& line : lines) {
      if (std::all_of(line, line + 3, [&](int i) { return cells[i] == side || i == cell; })) return line;
    }
    return nullptr;
  }
  uint32_t weight(int cell, char side, char other) const {
    if (cells[cell] != '.') return 0;
    if (line_of(side, cell)) return 30;   // wins
    if (line_of(other, cell)) return 20;  // keeps the other from winning
    return cell == 4 ? 4 : cell % 2 == 0 ? 2 : 1;
  }
};

void describe(Writer& writer, const Board& before, int cell, char side, char other) {
  if (!before.line_of(side, cell) && before.line_of(other, cell))
    return writer.one_of({"", ", a block", ", just in time"});
  if (cell == 4) writer.one_of({"", ", the centre"});
}

void noughts_and_crosses(Writer& writer) {
  writer.one_of({"Noughts and crosses: {one} has X, {two} has O.\n",
                 "{One} (X) and {two} (O) play noughts and crosses.\n",
                 "A game of noughts and crosses. X: {one}. O: {two}.\n"});
  const int style = writer.choose(4);
  static constexpr std::string_view styles[] = {"{number}. {player} ", "{player}: ", "{player} plays ", "{mark} to "};
  bool boards = false;
  Board board;
  const int* row = nullptr;
  int move = 0;
  for (; move < 9 && !row; ++move) {
    const char side = "XO"[move % 2], other = "OX"[move % 2];
    writer.set("number", std::to_string(move + 1));
    writer.set("mark", std::string(1, side));
    writer.set("player", writer.get(move % 2 ? "two" : "one"));
    writer.write(styles[style]);
    std::array<uint32_t, 9> weights;
    for (int cell = 0; cell < 9; ++cell) weights[cell] = board.weight(cell, side, other);
    const int cell = writer.choose(weights, Board::square);
    writer.raw(Board::square(cell));
    describe(writer, board, cell, side, other);
    writer.raw("\n");
    board.cells[cell] = side;
    row = board.line_of(side);
    if (move == 2) boards = writer.choose(2);
    if (boards && move % 3 == 2 && !row && move < 8) writer.raw(board.drawn());
  }
  writer.one_of({"Final board:\n", "The end:\n", "At the end:\n"});
  writer.raw(board.drawn());
  if (!row) return writer.one_of({"Nobody wins.\n", "A draw.\n", "The game is drawn.\n"});
  writer.set("row", Board::square(row[0]) + ", " + Board::square(row[1]) + " and " + Board::square(row[2]));
  writer.set("moves", std::to_string(move));
  writer.one_of({"{Player} wins with {row}.\n", "{Player} has {row} and wins.\n", "{Player} wins in move {moves}.\n",
                 "A win for {player} ({mark}): {row}.\n"});
}

void nim(Writer& writer) {
  static constexpr std::string_view ordinals[] = {"first", "second", "third"};
  std::array<int, 3> heaps;
  writer.one_of({"Nim: {one} against {two}. The heaps: ", "{One} and {two} play Nim. The heaps: ",
                 "A game of Nim between {one} and {two}, with heaps of "});
  for (int i = 0; i < 3; ++i) {
    heaps[i] = writer.choose(4, [](int stones) { return std::to_string(stones + 1); }) + 1;
    writer.raw(fmt::format("{}{}", heaps[i], i < 2 ? ", " : "\n"));
  }
  writer.one_of({"Whoever takes the last stone wins.\n", "The last stone wins.\n", "{One} begins.\n"});
  const auto stones = [&] { return heaps[0] + heaps[1] + heaps[2]; };
  int move = 0;
  for (; stones() > 0; ++move) {
    writer.set("player", writer.get(move % 2 ? "two" : "one"));
    writer.write("{Player} takes ");
    // Option 4 * heap + taken: a move that leaves the nim-sum 0 is the winning one.
    std::array<uint32_t, 16> weights{};
    for (int heap = 0; heap < 3; ++heap) {
      const int rest = heaps[0] ^ heaps[1] ^ heaps[2] ^ heaps[heap];
      for (int taken = 1; taken <= heaps[heap]; ++taken)
        weights[4 * heap + taken - 1] = heaps[heap] - taken == rest ? 8 : 1;
    }
    const auto text = [&](int i) {
      const int taken = i % 4 + 1, left = heaps[i / 4] - taken;
      if (left == 0) return fmt::format("{} the {} heap", taken == 1 ? "the last stone of" : "all of", ordinals[i / 4]);
      return fmt::format("{} from the {} heap", taken, ordinals[i / 4]);
    };
    const int option = writer.choose(weights, text);
    writer.raw(text(option));
    heaps[option / 4] -= option % 4 + 1;
    writer.raw(fmt::format(": {}, {}, {}\n", heaps[0], heaps[1], heaps[2]));
  }
  writer.set("moves", std::to_string(move));
  writer.one_of(
      {"{Player} wins.\n", "{Player} has taken the last stone and wins.\n", "{Player} wins after {moves} moves.\n"});
}

}  // namespace

void write_game(Writer& writer, const World&) {
  writer.vary("one", players);
  writer.vary("two", players, {}, {"one"});
  if (writer.chance(1, 2)) return nim(writer);
  noughts_and_crosses(writer);
}

}  // namespace switchyard::corpus
