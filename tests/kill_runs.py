#!/usr/bin/env python3
"""Kills a short training run with SIGKILL at random moments, writes included, and resumes it.

  kill_runs.py [--times 200] [--seed 1]

Whatever the moment, the resumed run must end with the bits of a run that nobody disturbed: weights, moments and the loss of
every step. Half of its time goes into checkpoints. Finds the program through SWITCHYARD_BUILD (default: build).
"""
import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("SWITCHYARD_BUILD", "build")).resolve()
RUN = ["--preset", "demo", "--layers", "2", "--width", "64", "--heads", "2", "--kv-heads", "2", "--ffn", "64",
       "--context", "32", "--batch", "2", "--merged-vocab", "300", "--corpus-bytes", "30000", "--warmup", "5",
       "--eval-tokens", "200", "--eval-every", "10", "--sample-every", "15", "--checkpoint-every", "2", "--steps", "40",
       "--dropout", "0.1", "--threads", "1", "--json"]
FILES = ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json", "train.json"]


def start(out, resume):
    command = [str(BUILD / "switchyard-train"), "train", *([] if resume else RUN), "--out", str(out),
               *(["--resume", "--json"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    if process.returncode != 0:
        raise SystemExit(f"exit code {process.returncode}: {err}")
    return out


def result(out):
    """Everything that must be the same, and nothing of the clock."""
    steps = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            assert entry["step"] not in steps, f"step {entry['step']} twice"
            steps[entry["step"]] = (entry["loss"], entry["gradient_norm"], entry["load"])
    return {name: (out / name).read_bytes() for name in FILES}, steps


def messages(out):
    return [json.loads(line)["event"] for line in (out / "metrics.jsonl").read_text().splitlines() if '"event"' in line]


def kill_at(out, seconds):
    """Returns what was there when the process died."""
    process = start(out, False)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if (out / "next").exists():
        return "a checkpoint that had been decided on"
    if (out / "next.partial").exists() or (out / "previous.partial").exists():
        return "half a checkpoint"
    return "a checkpoint" if (out / "train.json").exists() else "no checkpoint yet"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, found = random.Random(options.seed), collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        began = time.monotonic()
        finish(start(scratch / "whole", False))
        whole, length = result(scratch / "whole"), time.monotonic() - began
        for i in range(options.times):
            out = scratch / str(i)
            found[kill_at(out, draw.uniform(0, length))] += 1
            finish(start(out, (out / "train.json").exists() or (out / "next").exists()))
            if result(out) != whole or messages(out):
                raise SystemExit(f"killed run {i} of {options.times}: resumed, it ends otherwise: {messages(out)}")
            subprocess.run(["rm", "-r", str(out)], check=True)
            if sys.stderr.isatty():
                print(f"\r{i + 1} of {options.times}", end="", file=sys.stderr)
    print(f"{options.times} kills of a run of {length:.1f} s; every one resumed to the bits of the whole run")
    for what, count in found.most_common():
        print(f"{count:5}  {what}")


if __name__ == "__main__":
    main()
