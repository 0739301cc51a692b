#!/usr/bin/env python3
"""Times our training step and a PyTorch script's in turn and prints medians and their ratio.

  python3 tests/bench/beside_torch.py MOE_TORCH.py [--preset moe-step|baby] [--pairs 7] [--threads 2]

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
    parser.add_argument("--build", default=os.environ.get("SWITCHYARD_BUILD", "build"))
    given = parser.parse_args()
    ours = [str(pathlib.Path(given.build) / "bench_step"), given.preset, "--threads", given.threads, "--steps", given.steps]
    # PyTorch with OpenBLAS's OpenMP build, which picks its kernels itself.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    environment["LD_LIBRARY_PATH"] = OPENBLAS
    times = {"ours": []}
    for pair in range(given.pairs):
        times["ours"].append(milliseconds(ours, os.environ))
        for flags in PRESETS[given.preset]:
            command = ["/usr/bin/python3", given.script, *flags, "--threads", given.threads, "--steps", given.steps]
            times.setdefault(flags[1], []).append(milliseconds(command, environment))
        print(f"pair {pair + 1}/{given.pairs}: " + ", ".join(f"{k} {v[-1]:.1f} ms" for k, v in times.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(value for name, value in medians.items() if name != "ours")
    ratios = [min(times[n][i] for n in times if n != "ours") / t for i, t in enumerate(times["ours"])]
    print("medians: " + ", ".join(f"{k} {v:.1f} ms" for k, v in medians.items()))
    print(f"PyTorch's best over ours: {best / medians['ours']:.2f} (median of the pairs {statistics.median(ratios):.2f})")


if __name__ == "__main__":
    main()
