#!/usr/bin/env python3
"""Sweeps from end to end: interrupted at any moment and called again, a sweep's table is that of
one that was left alone, byte for byte. Finds the programs through SWITCHYARD_BUILD (default: build)."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

from test_cli import BUILD, Folder, call, last_json

SETTINGS = {"preset": "demo", "layers": 1, "width": 32, "heads": 2, "kv-heads": 2, "ffn": 32, "context": 32, "batch": 2,
            "merged-vocab": 300, "corpus-bytes": 40000, "domain": "stories", "steps": 30, "warmup": 3,
            "eval-every": 10, "eval-tokens": 300, "sample-every": 1000, "checkpoint-every": 7, "dropout": 0.1}


class Sweep(Folder):
    def write(self, **keys):
        file = self.dir / "tiny.json"
        file.write_text(json.dumps({"settings": SETTINGS, **keys}))
        return file

    def sweep(self, file, out, *arguments):
        return call("train", "sweep", file, "--out", self.dir / out, *arguments)

    def result(self, file, out):
        """The table, and what lies beside it: all that must not depend on interruptions."""
        done = self.sweep(file, out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, (self.dir / out / "table.csv").read_bytes()

    def test_interrupted_anywhere_the_table_is_the_same(self):
        file = self.write(grid={"rate": [0.001, 0.01], "experts": [2, 4]}, seeds=2)
        began = time.monotonic()
        whole = self.result(file, "whole")
        seconds = time.monotonic() - began
        self.assertIn("rate 0.001, experts 2", whole[0])
        self.assertIn("±", whole[0])
        dice = random.Random(int(os.environ.get("SWEEP_SEED", "1")))
        for how in ([signal.SIGINT], [signal.SIGKILL], [signal.SIGINT, signal.SIGKILL]):
            out = self.dir / "-".join(["parts", *map(str, how)])
            said = None
            while said is None:
                first = not out.exists()
                process = subprocess.Popen([str(BUILD / "switchyard-train"), "sweep", str(file), "--out", str(out)],
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                while first and not list(out.glob("*/metrics.jsonl")):
                    time.sleep(0.001)
                said = self.interrupted(process, dice.choice(how), 0 if first else dice.uniform(0.05, 0.6) * seconds, out)
                self.assertFalse(first and said, "the first call was not cut short")
            self.assertEqual((said, (out / "table.csv").read_bytes()), whole, how)
            self.assertEqual(self.result(file, out), whole, "read, not trained")

    def interrupted(self, process, how, after, out):
        """Sends the signal after so many seconds; what the process printed if it had ended before, else None."""
        try:
            said, error = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            said, error = process.communicate(timeout=60)
        if process.returncode == 0:
            return said
        self.assertEqual(said, "", "no half of a table")
        self.assertIn(process.returncode, (130, -how), error)
        if process.returncode == 130:
            self.assertIn(f"to go on: ./run sweep {self.dir / 'tiny.json'} --out {out}", error)
        return None

    def test_finished_runs_are_read_and_changed_ones_done_again(self):
        file = self.write(grid={"rate": [0.001, 0.01]}, seeds=1)
        first = self.result(file, "out")
        run = self.dir / "out" / "rate-0.001-1"
        before = (run / "outcome.json").stat().st_mtime_ns
        again = self.sweep(file, "out")
        self.assertEqual((again.returncode, again.stdout), (0, first[0]))
        self.assertNotIn("run 1 of", again.stderr)
        page = call("train", "report", run)
        self.assertEqual(page.returncode, 0, page.stderr)
        self.assertNotIn("no tokens by expert", page.stdout, "its model is there, if not the optimizer's state")
        self.assertFails(call("train", "train", "--resume", "--out", run), "optimizer.safetensors: missing")
        file = self.write(grid={"rate": [0.001, 0.01, 0.02]}, seeds=[1])  # one more
        more = self.sweep(file, "out")
        self.assertIn("run 3 of 3", more.stderr)
        self.assertNotIn("run 1 of 3", more.stderr)
        self.assertEqual((run / "outcome.json").stat().st_mtime_ns, before)
        file = self.write(grid={"rate": [0.001, 0.01, 0.02]}, seeds=[1], columns=["loss", "perplexity"])
        self.assertIn("perplexity", self.result(file, "out")[0], "other columns need no training")
        settings = {**SETTINGS, "batch": 3}
        file.write_text(json.dumps({"settings": settings, "grid": {"rate": [0.001]}, "seeds": 1}))
        changed = self.sweep(file, "out")
        self.assertIn("made with another configuration; doing it again", changed.stderr)
        self.assertGreater((run / "outcome.json").stat().st_mtime_ns, before)

    def test_ones_own_text_decides_too(self):
        text = self.dir / "text.txt"
        text.write_text("one two three four five six seven eight nine ten\n" * 300)
        file = self.write(grid={"data": [[str(text)]], "rate": [0.001, 0.01]}, seeds=1)
        first = self.result(file, "out")
        text.write_text("one two three four five six seven eight nine TEN\n" * 300)  # as long, another text
        again = self.sweep(file, "out")
        self.assertIn("doing it again", again.stderr)
        self.assertNotEqual(again.stdout, first[0])

    def test_a_diverged_run_is_a_row(self):
        file = self.write(list=[{"label": "good"}, {"label": "wild", "rate": 10, "weight-decay": 10, "warmup": 0}],
                          seeds=1)  # each step makes the weights a hundred times larger
        done = self.sweep(file, "out", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {row["variant"]: row for row in last_json(done)["variants"]}
        self.assertEqual(rows["good"]["diverged"], 0)
        self.assertIn("loss", rows["good"]["numbers"])
        self.assertEqual(rows["wild"]["diverged"], 1)
        self.assertNotIn("loss", rows["wild"].get("numbers", {}))
        self.assertRegex(self.result(file, "out")[0], "wild +diverged")
        self.assertEqual(last_json(done)["best"]["variant"], "good")

    def test_files_beside_the_table(self):
        file = self.write(list=[{"label": "a, \"b\"", "experts": 2}, {"label": "c", "experts": 4}], seeds=[4, 9])
        table, csv = self.result(file, "out")
        lines = csv.decode().splitlines()
        self.assertTrue(lines[0].startswith("variant,experts,seeds,diverged,loss,loss deviation,"))
        self.assertTrue(lines[1].startswith('"a, ""b""",2,2,0,'))
        self.assertEqual(len(lines), 3)
        self.assertNotIn("second", table)
        clocks = (self.dir / "out" / "clocks.csv").read_text().splitlines()
        self.assertEqual(len(clocks), 5)
        self.assertTrue((self.dir / "out" / "c-9" / "model.safetensors").exists())
        loss = [json.loads((self.dir / "out" / f"c-{seed}" / "outcome.json").read_text())["number"]["loss"]
                for seed in (4, 9)]
        self.assertAlmostEqual(float(lines[2].split(",")[4]), sum(loss) / 2, places=12)

    def test_errors_come_before_training(self):
        cases = [({"grid": {"experts": [4, 1]}}, "experts 1: --top-k 2"),
                 ({"grid": {"expert": [4]}}, "did you mean experts?"),
                 ({"list": [{}, {"context": 20000}]}, "context 20000: text of")]
        for keys, words in cases:
            self.assertFails(self.sweep(self.write(**keys), "out"), words)
            self.assertEqual(list((self.dir / "out").glob("*/made_with.json")), [], "no run was begun")
        self.assertFails(call("train", "sweep", self.dir / "none.json"), "none.json")
        (self.dir / "bad").mkdir()
        run = self.dir / "bad" / "as-they-are-1"
        run.mkdir()
        (run / "train.json").write_text("{}")
        self.assertFails(self.sweep(self.write(list=[{}]), "bad"), "not of this sweep", "--out")
        self.assertEqual((run / "train.json").read_text(), "{}", "another's run is left alone")

    def test_help_shows_a_file_that_works(self):
        shown = call("train", "sweep", "--help").stdout
        file = self.dir / "example.json"
        file.write_text(shown[shown.index("{\n"):shown.index("\n}\n") + 3].replace("mixtral-tiny\", \"steps\": 100",
                                                                                   "mixtral-tiny\", \"steps\": -1"))
        self.assertFails(call("train", "sweep", file), "settings: steps -1")  # all else in it was accepted


if __name__ == "__main__":
    unittest.main()
