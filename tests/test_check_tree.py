#!/usr/bin/env python3
"""tests/check_tree.py must find each fault that it is there for, and no other."""
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parent / "check_tree.py"

# Every kind of brace that is not a function, and functions of every form; `fill` makes one of them long.
SOURCE = """#pragma once
#include "tensor/tensor.h"
#define LOOP(n) \\
  for (int i = 0; i < n; ++i) {
namespace n {
constexpr int table[] = {1, 2'000, '{'};
enum class Kind { a, b };
struct Point {
  Point(int x) : x_{x}, y_{table[0]} {
    FILL
  }
  bool operator==(const Point& other) const { return x_ == other.x_; }
  int x_ = 0, y_{0};  // }
};
template <class T = int>
auto apply(T x, int k = 3) -> int {
  auto f = [&](int i) { return R"(})" + std::string("{") + (i ? '}' : '"'); };
  if (x) {
  }
  return 1;
}
TEST_SUITE("s") {
  TEST_CASE("c") {
    CASE
  }
}
}  // namespace n
"""


class CheckTreeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("tensor/tensor.h", "#pragma once\n")
        self.write("train/trainer.h", '#pragma once\n#include <vector>\n#include "tensor/tensor.h"\n')
        self.write("nn/point.h", SOURCE)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self, *expected, arguments=()):
        """Exactly the expected errors, each a regex."""
        done = subprocess.run([sys.executable, "-B", CHECK, "--root", self.root, *arguments], text=True,
                              stdout=subprocess.PIPE)
        errors = re.findall("^error: (.*)$", done.stdout, re.M)
        self.assertEqual(len(errors), len(expected), done.stdout)
        for error, regex in zip(errors, expected):
            self.assertRegex(error, regex)
        self.assertEqual(done.returncode, 1 if expected else 0)
        return done.stdout

    def test_clean(self):
        self.check()

    def test_layers(self):
        self.write("tests/t.cpp", '#include "train/trainer.h"\n')
        self.check()
        self.write("nn/up.h", '#include "train/trainer.h"\n')
        self.write("nn/sideways.h", '#include "tests/t.cpp"\n')
        self.write("nn/near.h", '#include "up.h"\n')
        self.check(r'^nn/near\.h:1: #include "up\.h": no such file', r"^nn/sideways\.h:1: .*nn/ may include only",
                   r"^nn/up\.h:1: .*nn/ stands below train/")

    def test_function_length(self):
        self.write("nn/point.h", SOURCE.replace("    FILL\n", "    ++x_;\n" * 58))
        self.check()
        self.write("nn/point.h", SOURCE.replace("    FILL\n", "    ++x_;\n" * 59))
        self.check(r"^nn/point\.h:9: a function of 61 lines")
        self.write("nn/point.h", SOURCE.replace("    CASE\n", "    CHECK(1);\n" * 59))
        self.check(r"^nn/point\.h:23: a function of 61 lines")
        self.write("nn/point.h", SOURCE)
        self.write("docs/f.py", "def f():\n" + "    pass\n" * 60)
        self.check(r"^docs/f\.py:1: a function of 61 lines")

    def test_file_size(self):
        self.write("nn/long.cpp", "\n" * 400)
        self.check()
        self.write("nn/long.cpp", "\n" * 401)
        self.write("docs/large.txt", "x" * (200 * 1024 + 1))
        (self.root / "docs/binary").write_bytes(b"\x7fELF\0")
        self.check(r"^docs/binary:1: is binary", r"^docs/large\.txt:1: 204801 bytes", r"^nn/long\.cpp:1: 401 lines")

    def test_content(self):
        self.write("docs/a.md", "see /wo" + "rk/x\n" + "# TO" + "DO later\nhttps://x.org/home/y $root/docs\n")
        self.write("misc/x.txt", "")
        self.check(r"^docs/a\.md:1: a path of one machine", r"^docs/a\.md:2: unfinished",
                   r"^misc/x\.txt:1: no folder misc/")

    def test_what_was_built_is_left_out(self):
        self.write("build-x/a.cpp", "\n" * 500)
        self.check()

    def test_afternoon(self):
        self.write("tensor/tensor.h", "\n" * 390)
        self.write("train/trainer.cpp", "\n" * 1108)
        said = self.check(r"path: 1501 lines, at most 1500", arguments=["--afternoon"])
        self.assertIn("  390  tensor/tensor.h\n", said)
        self.assertIn("-  tensor/dtype.h  (not written yet)", said)


if __name__ == "__main__":
    unittest.main()
