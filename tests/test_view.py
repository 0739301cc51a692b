#!/usr/bin/env python3
"""How `train` looks: under a pseudo-terminal of two sizes, through a resize, after Ctrl-C, and into a pipe. A terminal
of our own (class Screen) follows the bytes, with both of its screens."""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

BUILD = pathlib.Path(os.environ.get("SWITCHYARD_BUILD", "build")).resolve()
TINY = ["train", "--preset", "demo", "--layers", "2", "--width", "32", "--heads", "2", "--kv-heads", "2", "--ffn", "32",
        "--context", "48", "--batch", "4", "--merged-vocab", "300", "--corpus-bytes", "60000", "--warmup", "5",
        "--eval-tokens", "500", "--log-every", "10", "--eval-every", "20", "--sample-every", "20", "--threads", "1"]


class Screen:
    """A terminal: the control sequences of ECMA-48 that a program of ours may send, and nothing else."""
    SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])")

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.history = []  # lines of the first screen, all of them
        self.line, self.held = "", b""
        self.second = None  # the second screen while it is on: rows of characters
        self.frames = []  # texts of the second screen whenever it is left, for comparison
        self.visible = True

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        if self.second is not None:  # as terminals do: what does not fit is cut, the rest stays
            self.second = [row[:columns] for row in self.second[:rows]]

    def feed(self, data):
        """Any piece of the program's output; what ends inside a sequence or a character waits for the rest."""
        data, at = self.held + data, 0
        self.held = b""
        while at < len(data):
            if data[at:at + 1] == b"\x1b":
                match = self.SEQUENCE.match(data, at)
                if not match:
                    assert len(data) - at < 12, f"an escape sequence that no terminal knows: {data[at:at + 12]!r}"
                    self.held = data[at:]
                    return
                self.control(*match.groups())
                at = match.end()
                continue
            end = data.find(b"\x1b", at)
            end = len(data) if end < 0 else end
            piece = data[at:end]
            try:
                self.write(piece.decode())
            except UnicodeDecodeError as error:
                assert end == len(data) and len(piece) - error.start < 4, "not UTF-8"
                self.write(piece[:error.start].decode())
                self.held = piece[error.start:]
            at = end

    def control(self, private, numbers, letter):
        if private:
            if numbers == b"1049":
                assert (letter == b"h") == (self.second is None), "the second screen is entered and left in turn"
                if letter == b"h":
                    self.second, self.row, self.at = [], 0, 0
                else:
                    self.frames.append(self.text())
                    self.second = None
            elif numbers == b"25":
                self.visible = letter == b"h"
            else:
                raise AssertionError(f"private mode {numbers}")
            return
        if letter == b"m":
            return
        assert self.second is not None, "the first screen, with its history, is only written to"
        if letter == b"H":
            assert not numbers
            self.row, self.at = 0, 0
        elif letter == b"K":
            self.second = self.second[:self.row] + [self.second[self.row][:self.at] if self.row < len(self.second) else
                                                    ""] + self.second[self.row + 1:]
        elif letter == b"J":
            del self.second[self.row + (self.at > 0):]
        else:
            raise AssertionError(f"sequence {numbers}{letter}")

    def write(self, data):
        if self.second is None:
            for character in data.replace("\r", ""):  # the terminal puts one before each line's end
                if character == "\n":
                    self.history.append(self.line)
                    self.line = ""
                else:
                    assert character.isprintable(), f"{character!r} on the first screen"
                    self.line += character
            return
        for character in data:
            if character == "\r":
                self.at = 0
            elif character == "\n":
                self.row += 1
                assert self.row < self.rows, "the frame is higher than the screen: it would scroll"
            else:
                assert self.at < self.columns, f"a line is wider than {self.columns}"
                while len(self.second) <= self.row:
                    self.second.append("")
                line = self.second[self.row].ljust(self.at)
                self.second[self.row] = line[:self.at] + character + line[self.at + 1:]
                self.at += 1

    def text(self):
        return list(self.second)


class Terminal:
    """The program under a pseudo-terminal."""

    def __init__(self, columns, rows, *arguments, environment=()):
        self.screen = Screen(columns, rows)
        self.master, slave = pty.openpty()
        self.size(columns, rows)
        self.process = subprocess.Popen([str(BUILD / "switchyard-train"), *map(str, arguments)], stdin=slave, stdout=slave,
                                        stderr=slave, env={**os.environ, "TERM": "xterm", **dict(environment)},
                                        start_new_session=True)
        os.close(slave)

    def size(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, condition):
        """Reads until nothing is on its way and the condition holds, or to the end."""
        while True:
            ready, _, _ = select.select([self.master], [], [], 60)
            assert ready, "no output for a minute"
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # the other side is closed: the end
                return
            if not data:
                return
            self.screen.feed(data)
            if self.screen.second is not None and not select.select([self.master], [], [], 0.02)[0]:
                if condition(self.screen):
                    return

    def finish(self):
        self.read_until(lambda screen: False)
        os.close(self.master)
        return self.process.wait(timeout=60)


# What differs between two runs of the same: the clock, and the folder's name.
def comparable(lines, folder):
    text = "\n".join(lines).replace(str(folder), "DIR")
    text = re.sub(r"[0-9.]+[kM]? tok/s", "N tok/s", text)
    text = re.sub(r"\d+:\d\d(:\d\d)? left", "T left", text)
    text = re.sub(r"(?m)^cost: .*", "cost", text)
    text = re.sub(r"\(\d+ tokens/s in training\)", "(N tokens/s)", text)
    return text.split("\n")


class View(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()

    def plain(self, name="plain"):
        out = self.dir / name
        result = subprocess.run([str(BUILD / "switchyard-train"), *TINY, "--steps", "40", "--out", str(out)],
                                capture_output=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn(b"\x1b", result.stdout, "no control sequence goes into a pipe")
        self.assertNotIn(b"\r", result.stdout)
        return comparable(result.stdout.decode().splitlines(), out)

    def test_a_terminal_keeps_every_line_that_a_pipe_gets(self):
        expected = self.plain()
        self.assertGreater(len([line for line in expected if line.startswith("step ")]), 4)
        for columns, rows in ((80, 24), (200, 50), (30, 6)):
            out = self.dir / f"{columns}"
            terminal = Terminal(columns, rows, *TINY, "--steps", 40, "--out", out)
            self.assertEqual(terminal.finish(), 0)
            screen = terminal.screen
            self.assertIsNone(screen.second, "the first screen is back")
            self.assertTrue(screen.visible, "and the cursor")
            self.assertEqual(comparable(screen.history, out), expected)
            self.assertGreater(len(screen.frames), 4)
            last = screen.frames[-1]
            self.assertLessEqual(len(last), rows)
            text = "\n".join(last)
            if rows >= 24:
                for word in ("step 40/40", "loss ", "floor ", "evaluation", "tokens/s", "norm ", "rate ", "balance ",
                             "layer 1", "layer 2", "busiest/mean", "sample at step 40"):
                    self.assertIn(word, text, f"{columns} x {rows}")
                self.assertRegex(text, r"(?m)^evaluation  at step 40: validation loss")
                self.assertIn("▁", text)
            metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            self.assertEqual(len([m for m in metrics if "loss" in m]), 40)

    def test_a_resize_is_survived(self):
        out = self.dir / "run"
        terminal = Terminal(120, 40, *TINY, "--log-every", 300, "--eval-every", 5000, "--sample-every", 100000, "--steps",
                            100000, "--out", out)
        terminal.read_until(lambda screen: any("step " in line for line in screen.text()))
        for columns, rows in ((60, 20), (24, 5), (200, 50), (100, 30)):
            terminal.size(columns, rows)
            terminal.screen.frames.clear()
            began = time.monotonic()
            # Bytes that were on their way are still of the old size: the terminal is as large as both until they are through.
            terminal.screen.resize(max(columns, terminal.screen.columns), max(rows, terminal.screen.rows))
            terminal.read_until(lambda screen: time.monotonic() - began > 0.7)
            terminal.screen.resize(columns, rows)
            terminal.read_until(lambda screen: time.monotonic() - began > 1.4)
            lines = terminal.screen.text()
            self.assertTrue(all(len(line) <= columns for line in lines))
            self.assertLessEqual(len(lines), rows)
            self.assertEqual(len([line for line in lines if "/100000" in line]), 1, lines)
        os.kill(terminal.process.pid, signal.SIGINT)
        self.assertEqual(terminal.finish(), 0)
        self.assertIsNone(terminal.screen.second)
        text = "\n".join(terminal.screen.history)
        self.assertIn("stopped and saved at step", text)
        self.assertIn(f"./run train --resume --out {out}", text)
        logged = re.findall(r"(?m)^step +(\d+)/", text)
        self.assertEqual(logged, sorted(set(logged), key=int), "no line twice")
        metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        last = max(m["step"] for m in metrics)
        self.assertEqual([int(n) for n in logged], [1] + list(range(300, last + 1, 300)), "no line lost")

    def test_plain_where_the_terminal_cannot_or_the_user_will_not(self):
        expected = self.plain()
        for name, arguments, environment in (("dumb", [], {"TERM": "dumb"}), ("asked", ["--view", "plain"], {})):
            out = self.dir / name
            terminal = Terminal(80, 24, *TINY, "--steps", 40, "--out", out, *arguments, environment=environment)
            self.assertEqual(terminal.finish(), 0)
            self.assertEqual(terminal.screen.frames, [])
            self.assertEqual(comparable(terminal.screen.history, out), expected)


if __name__ == "__main__":
    unittest.main()
