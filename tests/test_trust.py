#!/usr/bin/env python3
"""What a run survives, from outside: kills, a full disk, a damaged checkpoint, numbers that are none."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kill_runs
from test_cli import BUILD, TINY, Folder, call, contents, train


def on_small_disk(kilobytes, script):
    """Runs a shell script in a file system of that size, mounted at $DISK; None where that is not allowed."""
    with tempfile.TemporaryDirectory() as mount:
        command = f'mount -t tmpfs -o size={kilobytes}k none "$DISK" || exit 99\n{script}'
        for flags in (["-m"], ["-U", "-r", "-m"]):
            try:
                result = subprocess.run(["unshare", *flags, "bash", "-c", command], capture_output=True, text=True,
                                        timeout=300, env={**os.environ, "DISK": mount})
            except FileNotFoundError:
                return None
            if result.returncode not in (1, 99) or "unshare" not in result.stderr + " mount":
                return result
        return None


class Trust(Folder):
    def test_kills_at_random_moments(self):
        result = subprocess.run([sys.executable, "-B", kill_runs.__file__, "--times", "12", "--seed", "7"],
                                capture_output=True, text=True, timeout=600)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_full_disk(self):
        program = BUILD / "switchyard-train"
        run = " ".join(TINY)
        result = on_small_disk(1200, f"""
            {program} train {run} --steps 30 --checkpoint-every 5 --out $DISK/run --view plain; echo "code $?"
            ls $DISK/run
            {program} eval --model $DISK/run --tokens 500 --json; echo "code $?"
            mount -o remount,size=20m $DISK
            {program} train --resume --out $DISK/run --json; echo "code $?"
            """)
        if result is None:
            self.skipTest("no file system can be mounted here")
        self.assertIn("error: ", result.stderr)
        self.assertRegex(result.stderr, r"a checkpoint needs 0\.9 MB, and 0\.\d MB are free")
        codes = [line for line in result.stdout.splitlines() if line.startswith("code ")]
        self.assertEqual(codes, ["code 2", "code 0", "code 0"], result.stdout + result.stderr)
        self.assertIn('"steps":30', result.stdout)

    def test_damaged_checkpoint(self):
        out, whole = self.dir / "run", self.dir / "whole"
        arguments = ["--schedule", "constant", "--checkpoint-every", 5]
        self.assertEqual(train(whole, "--steps", 15, *arguments).returncode, 0)
        self.assertEqual(train(out, "--steps", 10, *arguments).returncode, 0)
        model = bytearray((out / "model.safetensors").read_bytes())
        model[len(model) // 2] ^= 1
        (out / "model.safetensors").write_bytes(model)
        resumed = call("train", "train", "--resume", "--out", out, "--steps", 15, "--view", "plain")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertIn("model.safetensors: damaged", resumed.stdout)
        self.assertIn("going on from the checkpoint before it, of step 5", resumed.stdout)
        self.assertEqual(contents(whole)["model.safetensors"], contents(out)["model.safetensors"])

    def test_spikes(self):
        wild = ["--rate", 10, "--clip", 1e9, "--beta2", 0, "--weight-decay", 10, "--warmup", 0, "--steps", 60]
        out = self.dir / "run"
        stopped = train(out, *wild)
        self.assertFails(stopped, "step ", "./run replay", "--on-spike skip")
        shown = call("train", "replay", out / "spike")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("first gone wrong: ", shown.stdout)
        events = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines() if '"event"' in line]
        self.assertEqual(len(events), 1)
        self.assertFails(call("train", "replay", self.dir / "nothing"), "nothing", "holds no run")


if __name__ == "__main__":
    unittest.main()
