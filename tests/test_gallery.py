#!/usr/bin/env python3
"""Seven runs, six of them broken as in chapter 36, and the words on top of their reports: each names its own fault and
no other's, and the sound run none. Finds the programs through SWITCHYARD_BUILD (default: build).

  test_gallery.py --seeds N…   prints how often each fault was named in each kind of run, from those seeds
"""
import re
import sys
import tempfile
import unittest
from pathlib import Path

from test_cli import Folder, call, train

SMALL = ["--width", 48, "--heads", 3, "--kv-heads", 3, "--ffn", 48, "--context", 64, "--corpus-bytes", 300000,
         "--steps", 200, "--warmup", 10, "--batch", 8, "--rate", 0.003, "--eval-every", 20, "--eval-tokens", 3000,
         "--sample-every", 1000]
RUNS = {"sound": [],
        "fast": ["--rate", 0.3, "--on-spike", "go-on"],
        "slow": ["--rate", 3e-5],
        "collapsed": ["--router", "switch", "--top-k", 1, "--gate-norm", "none", "--balance", 0, "--router-rate", 30],
        "dropping": ["--capacity", 0.25],
        "overfit": ["--corpus-bytes", 12000, "--people", 3],
        "forced": ["--balance", 30]}
# What says which. Clipped gradients are no fault of their own here.
WORDS = {"fast": "The loss rose above where it began|The loss jumped",
         "slow": "only, and was still falling",
         "collapsed": "got no token",
         "dropping": "found no room in their expert",
         "overfit": "knows the text that it trains on better than its language",
         "forced": "The balance loss, weighted, is"}
# Too high a rate also breaks the routing, so a fast run may show what a collapsed one does, but not the reverse.
ALSO = {"fast": {"collapsed"}}


def report_of(folder, flags, seed=1):
    """Trains, and returns the words on top of the run's report and the page itself."""
    trained = train(folder, *SMALL, *flags, "--seed", seed)
    assert trained.returncode == 0, trained.stderr
    report = call("train", "report", folder)
    assert report.returncode == 0, report.stderr
    return re.sub(r"\s+", " ", report.stdout), (folder / "report.html").read_text(encoding="utf-8")


def faults(said):
    return {fault for fault, words in WORDS.items() if re.search(words, said)}


class Gallery(Folder):
    def test_each_report_names_its_own_fault(self):
        for name, flags in RUNS.items():
            with self.subTest(run=name):
                said, page = report_of(self.dir / name, flags)
                self.assertEqual(faults(said) - ALSO.get(name, set()), {name} & set(WORDS), said)
                if name == "sound":
                    self.assertNotIn("!", said)
                else:
                    self.assertRegex(page, WORDS[name])


def count(seeds):
    print(f"{'run':<10}" + "".join(f"{fault:>11}" for fault in WORDS) + f"{'none':>6}")
    for name, flags in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = [faults(report_of(Path(folder) / str(seed), flags, seed)[0]) for seed in seeds]
        print(f"{name:<10}" + "".join(f"{sum(fault in f for f in found):>11}" for fault in WORDS) +
              f"{found.count(set()):>6}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--seeds"]:
        count(sys.argv[2:])
    else:
        unittest.main()
