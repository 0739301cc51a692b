#!/usr/bin/env python3
"""Removes one barrier of one kernel at a time and expects the tests of the emulated GPU to fail.

  remove_barriers.py                  every removal: about ten minutes on two cores
  remove_barriers.py --only 7 12      these alone (numbers are in the table)
  remove_barriers.py --file gemm      those of the files whose name contains this
  remove_barriers.py --list           prints the table
  remove_barriers.py --check          only checks that every file with a barrier has its tests; ctest runs this part

Barriers are __syncthreads(), __syncwarp(), and what cp.async and Hopper's tensor cores wait by: commit_copies(),
wait_copies<n>(), fences, the ring's waits. (__syncthreads_count() stays: its result is needed too.) The file is changed
in a copy, the kernels that use it are compiled from that as the build does, once with the access checker and once
without, and linked with the other objects of the build. Then the tests that use them run: with the checker, and without
it with the threads in reverse and in random order. A removal that none of the three notices is a gap in the tests or a
barrier that nobody needs; it makes the exit code 1.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "tensor/cuda"
TIMEOUT = 600  # seconds of processor time for one run of the tests; a removal that makes them hang is noticed too

# For each file with a barrier: kernel files that use it, and the test suites (without "device: ") that use those.
TESTS = {
    "attention_split.cu": (["attention_split.cu"], ["attention"]),
    "attention_tensor.cu": (["attention_tensor.cu"], ["attention"]),
    "attention_tensor.cuh": (["attention_tensor.cu"], ["attention"]),
    "attention_tensor_backward.cu": (["attention_tensor_backward.cu"], ["attention"]),
    "attention_tiled.cu": (["attention_tiled.cu"], ["attention"]),
    "column_sums.cuh": (["norm.cu"], ["normalisation"]),
    "common.cuh": (["loss.cu", "norm.cu"], ["loss", "normalisation"]),
    "counting_sort.cuh": (["plan.cu"], ["plan"]),
    "gemm_pipeline.cuh": (["gemm.cu"], ["gemm"]),
    "gemm_steps.cuh": (["gemm.cu"], ["gemm steps"]),
    "hopper.cu": (["hopper.cu"], ["hopper"]),
    "norm.cu": (["norm.cu"], ["normalisation"]),
    "plan.cu": (["plan.cu"], ["plan"]),
    "rope.cu": (["rope.cu"], ["rope"]),
    "segments.cu": (["segments.cu"], ["plan", "combine"]),
}
MODES = [("checker", "forward"), ("plain", "reverse"), ("plain", "shuffled")]

BARRIER = re.compile(r"(?<!void )(?<!:)\b(?:(?:__syncthreads|__syncwarp|commit_\w+|wait_\w+<[^<>]*>|fence_\w+)\(\)|"
                     r"ring\.wait_\w+\(\w+\))")
COMMENT = re.compile(r"//[^\n]*")
INCLUDE = re.compile(r'^\s*#\s*include\s+"tensor/cuda/([^"]+)"', re.M)


def barriers():
    """(file, offset, line, text) of every barrier, by file and line."""
    found = []
    for path in sorted([*KERNELS.glob("*.cu"), *KERNELS.glob("*.cuh")]):
        text = path.read_text()
        code = COMMENT.sub(lambda match: " " * len(match[0]), text)
        found += [(path.name, match.start(), code.count("\n", 0, match.start()) + 1, match[0])
                  for match in BARRIER.finditer(code)]
    return found


def includes(name, seen):
    """Adds `name` and all files of the kernels' folder that it includes, directly or not, to `seen`."""
    if name in seen or not (KERNELS / name).is_file():
        return seen
    seen.add(name)
    for other in INCLUDE.findall((KERNELS / name).read_text()):
        includes(other, seen)
    return seen


def check(found):
    """Prints what is wrong with TESTS; returns the number of faults."""
    suites = set(re.findall(r'TEST_SUITE(?:_BEGIN)?\("device: ([^"]+)"',
                            "".join(path.read_text() for path in (ROOT / "tests/device").glob("*.cpp"))))
    files = {file for file, *_ in found}
    faults = [f"{file} has barriers: TESTS must say which tests use it" for file in sorted(files - TESTS.keys())]
    faults += [f"{file} in TESTS has no barrier" for file in sorted(TESTS.keys() - files)]
    for file, (kernels, names) in TESTS.items():
        faults += [f"{file} in TESTS: {kernel} does not include it" for kernel in kernels
                   if file not in includes(kernel, set())]
        faults += [f'{file} in TESTS: no suite "device: {name}" in tests/device/' for name in names
                   if name not in suites]
    for fault in faults:
        print(f"error: {fault}")
    return len(faults)


class Build:
    """The commands of a build folder, to compile and link one changed kernel file beside its objects."""

    def __init__(self, folder):
        self.folder = folder
        self.compiles, self.links = {}, {}
        for entry in json.loads((folder / "compile_commands.json").read_text()):
            words = shlex.split(entry["command"])
            self.compiles[words[words.index("-o") + 1]] = words
        for build in {build for build, _ in MODES}:
            listed = subprocess.run(["ninja", "-C", folder, "-t", "commands", f"device_tests_{build}"],
                                    capture_output=True, text=True, check=True).stdout
            self.links[build] = [word for word in shlex.split(listed.splitlines()[-1]) if word not in (":", "&&")]

    def run(self, words):
        made = subprocess.run(words, cwd=self.folder, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"{' '.join(words)}:\n{made.stderr[:2000]}")

    def program(self, build, kernels, copy):
        """The tests with `kernels` compiled from the folder `copy`, which holds only what is changed."""
        words = list(self.links[build])
        words[words.index("-o") + 1] = str(copy / build)
        for kernel in kernels:
            name = kernel.removesuffix(".cu") + ".cpp"
            old, new = f"CMakeFiles/emulated_kernels_{build}.dir/emulated/{name}.o", str(copy / f"{build}-{name}.o")
            changed = copy / "tensor/cuda" / kernel
            (copy / name).write_text(f'#include "{changed if changed.is_file() else KERNELS / kernel}"\n')
            compile_it = list(self.compiles[old])
            compile_it[compile_it.index("-o") + 1] = new
            compile_it[compile_it.index("-c") + 1] = str(copy / name)
            self.run([compile_it[0], f"-I{copy}", "-w", *compile_it[1:]])
            # First of all objects: of a function that several have, the linker takes the first.
            words.remove(old)
            words.insert(1, new)
        self.run(words)
        return copy / build


def stumbled(program, suites, order):
    """Runs the tests; returns None if they pass, else the first thing that was reported."""
    environment = {**os.environ, "CUDA_EMULATOR_ORDER": order}
    if suites == ["hopper"]:
        environment["CUDA_EMULATOR_CAPABILITY"] = "90"
    command = ["sh", "-c", f'ulimit -t {TIMEOUT}; exec "$0" "$@"', program, "--abort-after=1", "--no-colors=true",
               "--test-suite=" + ",".join(f"device: {suite}" for suite in suites)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace")
    if ran.returncode == 0:
        if not re.search(r"test cases: +[1-9]", ran.stdout):
            raise RuntimeError(f"{' '.join(map(str, command))} ran no test")
        return None
    report = re.search(r"ERROR: (?:test case THREW exception:)?\s*(.+)", ran.stdout)
    return (report[1] if report else ran.stderr.strip() or f"exit code {ran.returncode}").splitlines()[0]


def without(build, barrier):
    """What each mode says when this barrier is gone."""
    file, offset, _, text = barrier
    kernels, suites = TESTS[file]
    with tempfile.TemporaryDirectory(prefix="switchyard-barriers-") as folder:
        copy = Path(folder)
        (copy / "tensor/cuda").mkdir(parents=True)
        source = (KERNELS / file).read_text()
        (copy / "tensor/cuda" / file).write_text(source[:offset] + source[offset + len(text):])
        programs = {name: build.program(name, kernels, copy) for name in sorted({name for name, _ in MODES})}
        return [stumbled(programs[name], suites, order) for name, order in MODES]


def run(numbers, found, folder, jobs):
    """Tries the removals of these numbers; returns how many nobody noticed."""
    build, start, survivors, noticed = Build(folder), time.monotonic(), [], [0] * len(MODES)
    for name, order in MODES:
        suites = sorted({suite for number in numbers for suite in TESTS[found[number - 1][0]][1]})
        words = stumbled(folder / f"device_tests_{name}", suites, order)
        if words:
            raise RuntimeError(f"the tests fail on the tree as it is ({name}, {order}): {words}")
    print(f"passing as it is, after {time.monotonic() - start:.0f} s")
    print(f"{'':>3}  {'':<38} {'removed':<18} {' '.join(f'{order:<8}' for _, order in MODES)}  first report\n"
          f"{'':>3}  {'':<38} {'':<18} {' '.join(f'{name:<8}' for name, _ in MODES)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = {number: pool.submit(without, build, found[number - 1]) for number in numbers}
        for number, result in results.items():
            file, _, line, text = found[number - 1]
            words = result.result()
            noticed = [count + (word is not None) for count, word in zip(noticed, words)]
            if not any(words):
                survivors.append(f"{number}: {text} at {file}:{line}")
            print(f"{number:>3}  {f'{file}:{line}':<38} {text:<18} "
                  f"{' '.join(f'''{'caught' if word else '-':<8}''' for word in words)}  "
                  f"{next((word for word in words if word), 'SURVIVES')}", flush=True)
    print(f"{len(numbers) - len(survivors)} of {len(numbers)} removals caught in {time.monotonic() - start:.0f} s: " +
          ", ".join(f"{count} by {name} {order}" for count, (name, order) in zip(noticed, MODES)))
    for survivor in survivors:
        print(f"error: no test notices removal {survivor}")
    return len(survivors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", type=int, nargs="+", metavar="N")
    parser.add_argument("--file", metavar="NAME", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="removals at once")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="a build folder (made by ./run test)")
    parser.add_argument("--as-built", action="store_true", help="take the build as it is, instead of updating it")
    options = parser.parse_args()
    found = barriers()
    if options.list:
        for number, (file, _, line, text) in enumerate(found, 1):
            suites = TESTS[file][1] if file in TESTS else "?"
            print(f"{number:>3}  {f'{file}:{line}':<38} {text:<18} {', '.join(suites)}")
        return 0
    faults = check(found)
    if faults or options.check:
        print(f"{len(found)} barriers in {len({file for file, *_ in found})} files, {faults} faults")
        return 1 if faults else 0
    numbers = options.only or [n for n, (file, *_) in enumerate(found, 1) if options.file in file]
    for number in numbers:
        if not 1 <= number <= len(found):
            print(f"error: --only {number}: must be 1 to {len(found)}", file=sys.stderr)
            return 2
    try:
        if not options.as_built:
            targets = [f"device_tests_{build}" for build in sorted({build for build, _ in MODES})]
            subprocess.run(["cmake", "--build", options.build, "--target", *targets], check=True,
                           stdout=subprocess.DEVNULL)
        return 1 if run(numbers, found, options.build.resolve(), options.jobs) else 0
    except (RuntimeError, subprocess.CalledProcessError, OSError) as reason:
        print(f"error: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
