#!/usr/bin/env python3
"""Everything that only a GPU can tell, with one command: ./run gpu-check [--quick] [--only PART,…]

  build      configures a build with CUDA for this machine's GPU, and builds it
  tests      the tests of the kernels on the device, then all others (not with --quick)
  sanitize   compute-sanitizer's memcheck, racecheck, initcheck and synccheck over the tests of the kernels
  repeat     two trainings give the same checkpoint, byte for byte; the GPU's losses beside the CPU's
  bench      ./run bench device: each kernel beside cuBLAS or the memory's bandwidth, training steps, generation
  torch      a training step beside PyTorch's, in turn, and attention beside its fused one; where it is installed

It prints what it does and how long that takes, in the end a table with the bars that the figures must clear, and writes
all of it to --record FILE. Parts done before stay in that file, so a run can be finished later with --only.
Exit code: 0 all passed, 1 something did not, 2 there is no GPU or no CUDA toolkit.

Where fmt, doctest, CLI11 or nlohmann-json are not installed, their headers are enough: put them into folders, so that
DIR/fmt/core.h and so on exist, and give each of them as --include DIR."""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

from gpu_tools import (Failed, Late, ROOT, Worker, book_entries, capability, commit, gpu_name, header_packages,
                       last_line, start_program)

PARTS = ["build", "tests", "sanitize", "repeat", "bench", "torch"]
TOOLS = ["memcheck", "racecheck", "initcheck", "synccheck"]
# A short run that is the same on every machine.
TRAINING = """train --preset demo --layers 2 --width 64 --heads 4 --kv-heads 2 --ffn 96 --context 64 --merged-vocab 400
    --corpus-bytes 200000 --batch 4 --warmup 5 --eval-tokens 2000 --eval-every 1000 --sample-every 1000
    --log-every 1000 --json""".split()


class Check:
    def __init__(self, options):
        self.options, self.started = options, time.time()
        self.build, self.logs = options.build, options.build / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.program = lambda name: str(self.build / name)
        self.record = {"parts": {}}
        if options.record.is_file():
            before = json.loads(options.record.read_text())
            if before["commit"] == options.commit:  # what was done of other code is no longer true
                self.record = before
        device = gpu_name() or "no GPU: emulated"
        self.record.update(device=device, commit=options.commit, quick=options.quick,
                           date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        self.lines = []  # of the part that runs

    def say(self, text):
        print(f"[{time.time() - self.started:5.0f} s] {text}", flush=True)

    def run(self, what, command, limit):
        """Runs a command with its output in a log, says every 20 s how far it is, and returns the output."""
        log = self.logs / (re.sub(r"\W+", "-", what) + ".log")
        self.say(what)
        start = said = time.time()
        with open(log, "w") as file:
            process = start_program(command, file)
            while process.poll() is None:
                if time.time() - start > limit:
                    process.kill()
                    process.wait()
                    raise Late(f"{what}: not done after {limit} s ({log})")
                if time.time() - said > 20:
                    said = time.time()
                    self.say(f"  {said - start:.0f} of at most {limit} s: {last_line(log)}")
                time.sleep(0.05)
        output = log.read_text(errors="replace")
        if process.returncode != 0:
            raise Failed(f"{what}: exit code {process.returncode}: {last_line(log)} ({log})")
        return output

    def note(self, name, figure, passed=None, bar=""):
        """A line of the table. passed None: nothing to compare with."""
        self.lines.append({"name": name, "figure": figure, "bar": bar, "passed": passed})
        self.say(f"  {name}: {figure}" + ("" if passed is None else " passed" if passed else " MISSED"))

    def at_least(self, name, share, bar):
        passed = None if self.options.emulated else share >= bar
        self.note(name, f"{100 * share:.1f} %", passed, f">= {100 * bar:.0f} %")

    def part(self, name):
        self.say(f"== {name}")
        self.lines, start = [], time.time()
        try:
            getattr(self, "do_" + name)()
        except Failed as reason:
            self.note(name, str(reason), False)
        self.record["parts"][name] = {"seconds": round(time.time() - start, 1), "lines": self.lines}
        self.options.record.parent.mkdir(parents=True, exist_ok=True)
        self.options.record.write_text(json.dumps(self.record, indent=1) + "\n")
        if self.options.book:
            self.options.book.write_text(json.dumps(book_entries(self.record), indent=2) + "\n")

    # ---- build

    def do_build(self):
        o, packages = self.options, header_packages(self.options.include, self.build / "packages")
        command = ["cmake", "-S", ROOT, "-B", self.build, "-DCMAKE_BUILD_TYPE=Release", *packages]
        command += ["-G", "Ninja"] if shutil.which("ninja") and not (self.build / "CMakeCache.txt").exists() else []
        if not o.emulated:
            command.append(f"-DCMAKE_CUDA_ARCHITECTURES={o.architecture or capability() + '-real'}")
        self.run("configure", command, 300)
        build = ["cmake", "--build", self.build, "--parallel", o.jobs]
        needed = ["device_tests_plain", "bench_device_emulated", "switchyard-train"] if o.emulated else \
            ["device_tests", "bench_device", "switchyard-train"]
        self.run("build", [*build, "--target", *needed], 1800)
        if not o.quick and not o.emulated:
            self.run("build the rest", build, 3600)
        self.note("build", "done", True)

    # ---- tests

    def tests(self):
        return self.program("device_tests_plain" if self.options.emulated else "device_tests")

    def do_tests(self):
        output = self.run("kernels on the device", [self.tests()], 1200)
        summary = re.search(r"test cases:\s*(\d+) \|\s*(\d+) passed", output)
        self.note("kernels", f"{summary[2]} of {summary[1]} test cases", summary[1] == summary[2], "all")
        if not self.options.quick:
            output = self.run("all tests", ["ctest", "--test-dir", self.build, "--output-on-failure", "--parallel",
                                            self.options.jobs], 3600)
            self.note("all tests", re.search(r"\d+% tests passed.*", output)[0], "100% tests passed" in output, "all")

    def do_sanitize(self):
        tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if self.options.emulated or not os.path.exists(tool):
            return self.note("compute-sanitizer", "not installed")
        # Whole trainings take long under it and launch no kernel that the others do not.
        quick = ["--test-suite-exclude=device: training*"] if self.options.quick else []
        for name in self.options.tools.split(","):
            command = [tool, "--tool", name, "--error-exitcode", "9", self.tests(), *quick]
            try:
                output = self.run(name, command, self.options.sanitize_limit)
                summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", output)
                self.note(name, (summary or ["no summary"])[-1], bool(summary), "no errors")
            except Late as reason:  # what it finds it prints at once
                found = [line for line in (self.logs / (name + ".log")).read_text(errors="replace").splitlines()
                         if line.startswith("=========") and "COMPUTE-SANITIZER" not in line]
                self.note(name, found[0] if found else f"no error yet; {reason}", False if found else None, "no errors")
            except Failed as reason:
                self.note(name, str(reason), False, "no errors")

    # ---- the same numbers

    def train(self, name, steps, device, compute):
        """Returns the losses of each step, and the hash of what was saved."""
        folder = self.build / "runs" / name
        shutil.rmtree(folder, ignore_errors=True)
        self.run(f"train {name}", [self.program("switchyard-train"), *TRAINING, "--steps", steps, "--checkpoint-every",
                                   steps, "--out", folder, "--device", device, "--compute", compute], 600)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        saved = hashlib.sha256()
        for file in ("model.safetensors", "optimizer.safetensors"):
            saved.update((folder / file).read_bytes())
        return [line["loss"] for line in lines if "loss" in line and "gradient_norm" in line], saved.hexdigest()

    def do_repeat(self):
        cuda = "cpu" if self.options.emulated else "cuda"
        steps = 30 if self.options.quick else 100
        for compute in ("f32",) if self.options.emulated else ("f32", "bf16"):
            first, again = (self.train(f"{compute}-{i}", steps, cuda, compute) for i in (1, 2))
            self.note(f"two runs, {compute}", f"sha256 {first[1][:12]} and {again[1][:12]}", first == again, "equal")
            if compute == "f32":
                wide = first[0]
            else:
                self.compare("losses, bf16 beside f32", first[0], wide, 0.02)
        self.compare("losses, GPU beside CPU", wide, self.train("cpu", steps, "cpu", "f32")[0], 1e-3)

    def compare(self, name, got, want, tolerance):
        if len(got) != len(want) or not got:
            raise Failed(f"{name}: {len(got)} steps and {len(want)}")
        worst = max(abs(a - b) / abs(b) for a, b in zip(got, want))
        self.note(name, f"last {got[-1]:.4f} and {want[-1]:.4f}, at most {100 * worst:.4f} % apart", worst <= tolerance,
                  f"<= {100 * tolerance:g} %")

    # ---- speed

    def bench_command(self, *flags):
        scale = ["--tiny"] if self.options.emulated else ["--quick"] if self.options.quick else []
        name = "bench_device_emulated" if self.options.emulated else "bench_device"
        return [self.program(name), "--commit", self.options.commit, *scale, *flags]

    def do_bench(self):
        file = self.build / "bench.json"
        print(self.run("bench", self.bench_command("--json", file, "--only", self.options.sections), 1800))
        bench = self.record["bench"] = json.loads(file.read_text())
        lines = {(line["group"], line["name"]): line for line in bench.get("kernels", [])}
        for step, bar in (("tensor cores", 0.6), ("hopper", 0.8)):
            shares = [line["of_rival"] for (group, name), line in lines.items()
                      if group == "the ladder, bf16" and name.startswith(step + ",") and "of_rival" in line]
            if shares:  # the last is the largest product
                self.at_least(f"bf16 product, {step}, of cuBLAS", shares[-1], bar)
            else:
                self.note(f"bf16 product, {step}, of cuBLAS", "not measured: no such step here, or no cuBLAS")
        for kind in ("forward", "dX", "dW"):
            shares = [line["of_rival"] for (group, name), line in lines.items()
                      if group == "experts, bf16" and name.startswith(kind) and " 8 experts" in name]
            if shares:
                self.at_least(f"experts' {kind}, of one dense product, median", statistics.median(shares), 0.85)
                self.note(f"experts' {kind}, worst", f"{100 * min(shares):.1f} %")
        for step in bench.get("steps", []):
            tokens = f"{step['ms']:.1f} ms, {step['tokens_s']:.0f} tokens/s"
            self.note(f"training step, {step['dtype']}", tokens)
            if step["dtype"] == "bf16":
                self.at_least(f"training step, bf16, of the {step['mfu_of']} rate", step["mfu"], 0.3)

    # ---- beside PyTorch

    def torch_command(self, *flags):
        small = ["--device", "cpu", "--tiny"] if self.options.emulated else []
        return [self.options.python, "-B", ROOT / "tests/bench/torch_device.py", *small, *flags]

    def do_torch(self):
        probe = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
        missing = subprocess.run([self.options.python, "-c", probe], capture_output=True).returncode != 0
        if missing and not self.options.emulated:
            return self.note("PyTorch", f"{self.options.python} has none that sees the GPU (--python says another)")
        self.attention()
        for dtype in ("bf16",) if self.options.quick else ("bf16", "f32"):
            self.step_pairs(dtype)

    def attention(self):
        bench = [line for line in self.record.get("bench", {}).get("kernels", [])
                 if line["group"] == "causal attention, bf16" and "tensor cores" in line["name"]]
        shapes = {re.search(r"B (\d+) T (\d+) H (\d+) D (\d+)", line["name"]).groups() for line in bench}
        flags = [flag for shape in sorted(shapes) for flag in ("--attention", ",".join(shape))]
        output = self.run("torch's attention and products", self.torch_command("--kernels", *flags), 600)
        result = self.record["torch_kernels"] = json.loads(output.splitlines()[-1])
        for kind, bar in (("forward", 0.6), ("backward", None)):
            for line in bench:
                if not line["name"].startswith(kind):
                    continue
                shape = ",".join(re.search(r"B (\d+) T (\d+) H (\d+) D (\d+)", line["name"]).groups())
                theirs = [t[kind + "_us"] for t in result["attention"] if t["shape"] == shape]
                if theirs and bar:
                    self.at_least(f"attention {kind}, {shape}, of torch's best", min(theirs) / line["us"], bar)
                elif theirs:
                    self.note(f"attention {kind}, {shape}, of torch's best", f"{100 * min(theirs) / line['us']:.1f} %")

    def step_pairs(self, dtype):
        """Both programs stay on the device; in turn each times some steps while the other waits."""
        batch = str(self.options.batch or (2 if self.options.emulated else 8))
        ways = ["--ways", "grouped,grouped compiled"] if self.options.quick else []
        workers = {"ours": Worker(self.bench_command("--worker", dtype, "--batch", batch)),
                   "torch": Worker(self.torch_command("--worker", "--dtype", dtype, "--batch", batch, *ways))}
        try:
            for name, worker in workers.items():
                self.say(f"{name}: getting ready to train, {dtype}, {batch} sequences")
                survey = worker.wait_ready(lambda line: self.say("  " + line), 900)
            pairs = []
            for i in range(5 if self.options.quick else 9):
                pairs.append({name: worker.sample() for name, worker in workers.items()})
                self.say(f"  pair {i + 1}: ours {pairs[-1]['ours']:.1f} ms, torch {pairs[-1]['torch']:.1f} ms")
        finally:
            for worker in workers.values():
                worker.end()
        ratio = statistics.median(pair["torch"] / pair["ours"] for pair in pairs)
        self.record.setdefault("torch_steps", {})[dtype] = {"batch": batch, "pairs": pairs, "torch": survey}
        judged = dtype == "bf16" and not self.options.emulated
        self.note(f"training step, {dtype}: torch's best ({survey.get('best')}) over ours", f"{ratio:.2f}",
                  ratio >= 1 if judged else None, ">= 1" if dtype == "bf16" else "")

    def table(self):
        """Prints all lines of the record; returns whether none has failed."""
        print(f"\n{self.record['device']}, commit {self.record['commit'][:12]}\n{'-' * 100}")
        missed = 0
        for part in PARTS:
            for line in self.record["parts"].get(part, {}).get("lines", []):
                verdict = {True: "passed", False: "MISSED", None: ""}[line["passed"]]
                missed += line["passed"] is False
                print(f"{part:9} {line['name'][:58]:58} {line['figure'][:60]:>22} {line['bar']:>9} {verdict}")
        print(f"{'-' * 100}\n{missed} missed; the record is {self.options.record}")
        return missed == 0


def read_options():
    parser = argparse.ArgumentParser(prog="./run gpu-check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="what fits into ten minutes: fewer tests, smaller sizes")
    add("--only", default=",".join(PARTS), metavar="PARTS", help="comma between them; default: all")
    add("--record", type=pathlib.Path, metavar="FILE", help="default: BUILD/gpu-NAME.json")
    add("--book", type=pathlib.Path, metavar="FILE", help="write the numbers as a record of the book, too")
    add("--build", type=pathlib.Path, default=ROOT / "build-gpu", metavar="DIR", help="default: build-gpu")
    add("--include", type=pathlib.Path, action="append", default=[], metavar="DIR", help="a folder of headers")
    add("--architecture", metavar="LIST", help="CMAKE_CUDA_ARCHITECTURES; default: this GPU's")
    add("--commit", default=commit(), help="the commit that the record names; default: git's")
    add("--sections", default=".", metavar="REGEX", help="of the benchmark (./run bench device --list)")
    add("--tools", help=f"of compute-sanitizer; default: {','.join(TOOLS)}, or the first two with --quick")
    add("--sanitize-limit", type=int, metavar="SECONDS", help="for each tool; default: 900, or 60 with --quick")
    add("--batch", type=int, help="sequences of a step beside PyTorch; default: 8")
    add("--python", default=sys.executable, help="the interpreter that has PyTorch")
    add("--jobs", default=str(os.cpu_count()), help="for the build and the tests")
    add("--emulated", action="store_true", help="try this script without a GPU: tiny sizes, meaningless times")
    options = parser.parse_args()
    wrong = [part for part in options.only.split(",") if part not in PARTS]
    if wrong:
        parser.error(f"--only {wrong[0]}: must be of {', '.join(PARTS)}")
    options.sanitize_limit = options.sanitize_limit or (60 if options.quick else 900)
    options.tools = options.tools or ",".join(TOOLS[:2] if options.quick else TOOLS)
    options.build = options.build.resolve()
    slug = re.sub(r"\W+", "-", gpu_name() or "emulated").strip("-").lower()
    options.record = (options.record or options.build / f"gpu-{slug}.json").resolve()
    return options


def main():
    options = read_options()
    if not options.emulated and not gpu_name():
        print("error: no GPU can be used: nvidia-smi is missing or sees none", file=sys.stderr)
        return 2
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if not options.emulated and not nvcc:
        print("error: no CUDA toolkit: nvcc is neither on PATH nor in /usr/local/cuda/bin", file=sys.stderr)
        return 2
    if nvcc and not shutil.which("nvcc"):
        os.environ["PATH"] += os.pathsep + os.path.dirname(nvcc)
    check = Check(options)
    check.say(f"{check.record['device']}: {options.only}")
    for part in PARTS:
        if part in options.only.split(","):
            check.part(part)
    return 0 if check.table() else 1


if __name__ == "__main__":
    sys.exit(main())
