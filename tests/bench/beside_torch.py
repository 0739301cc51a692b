#!/usr/bin/env python3
"""Times our training step and a PyTorch script's in turn and prints medians and their ratio.

  python3 tests/bench/beside_torch.py MOE_TORCH.py [--preset moe-step|baby|nanogpt] [--compute f32|bf16] [--pairs 7]
      [--threads 2] [--openblas CORE] [--dense-twin]

--openblas SkylakeX makes OpenBLAS use those kernels in place of its own choice. --dense-twin times our dense model with
the same active parameters too.

MOE_TORCH.py prints a line with "step X ms" for --ffn loop|gather|dense and the sizes. Machines are noisy: only what is
measured in turn, in one run, may be compared."""
import argparse
import os
import pathlib
import re
import statistics
import subprocess

PRESETS = {
    "moe-step": [["--ffn", "loop"], ["--ffn", "gather"]],
    "baby": [["--ffn", "dense", "--d", "128", "--layers", "4", "--heads", "4", "--ff", "256", "--T", "64", "--B", "12",
              "--V", "65"]],
    "nanogpt": [["--ffn", "dense", "--d", "384", "--layers", "6", "--heads", "6", "--ff", "512", "--T", "256", "--B",
                 "64", "--V", "66", "--warmup", "1"]],
}
OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"


def milliseconds(command, environment):
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(re.search(r"step ([0-9.]+) ms", result.stdout).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script")
    parser.add_argument("--preset", default="moe-step", choices=PRESETS)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--steps", default="5")
    parser.add_argument("--compute", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--openblas", metavar="CORE")
    parser.add_argument("--dense-twin", action="store_true")
    parser.add_argument("--build", default=os.environ.get("SWITCHYARD_BUILD", "build"))
    given = parser.parse_args()
    ours = [str(pathlib.Path(given.build) / "bench_step"), given.preset, "--compute", given.compute, "--threads",
            given.threads, "--steps", given.steps]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    environment["LD_LIBRARY_PATH"] = OPENBLAS
    if given.openblas:
        environment["OPENBLAS_CORETYPE"] = given.openblas
    times = {"ours": []}
    for pair in range(given.pairs):
        times["ours"].append(milliseconds(ours, os.environ))
        if given.dense_twin:
            times.setdefault("our dense twin", []).append(milliseconds([*ours, "--dense-twin"], os.environ))
        for flags in PRESETS[given.preset]:
            command = ["/usr/bin/python3", given.script, *flags, "--dtype", given.compute, "--threads", given.threads,
                       "--steps", given.steps]
            times.setdefault(flags[1], []).append(milliseconds(command, environment))
        print(f"pair {pair + 1}/{given.pairs}: " + ", ".join(f"{k} {v[-1]:.1f} ms" for k, v in times.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    peers = [name for name in times if not name.startswith("our")]
    best = min(medians[name] for name in peers)
    ratios = [min(times[name][i] for name in peers) / t for i, t in enumerate(times["ours"])]
    print("medians: " + ", ".join(f"{k} {v:.1f} ms" for k, v in medians.items()))
    print(f"PyTorch's best over ours: {best / medians['ours']:.2f} (median of the pairs {statistics.median(ratios):.2f})")
    if given.dense_twin:
        twins = [twin / t for twin, t in zip(times["our dense twin"], times["ours"])]
        print(f"our dense twin over ours: {statistics.median(twins):.2f} (median of the pairs)")


if __name__ == "__main__":
    main()
