"""What gpu_check.py needs of the machine: its GPU, programs that wait, and packages of which there are only headers."""
import json
import pathlib
import re
import statistics
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Of each package: a header, CMake's name of it, its target, and what the compiler must be told.
PACKAGES = [("fmt/core.h", "fmt", "fmt::fmt", "FMT_HEADER_ONLY"),
            ("doctest/doctest.h", "doctest", "doctest::doctest", ""),
            ("CLI/CLI.hpp", "CLI11", "CLI11::CLI11", ""),
            ("nlohmann/json.hpp", "nlohmann_json", "nlohmann_json::nlohmann_json", "")]


class Failed(Exception):
    """A command did not succeed; the text says which, and where its output is."""


class Late(Failed):
    """A command was not done in time."""


def start_program(command, output, **more):
    command = [str(word) for word in command]
    more.setdefault("stdin", subprocess.DEVNULL)
    try:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, **more)
    except OSError as reason:
        raise Failed(f"{command[0]}: {reason.strerror}") from None


class Worker:
    """A program that gets ready, and then answers each line on its standard input with a time."""
    def __init__(self, command):
        self.process = start_program(command, subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    def wait_ready(self, say, limit):
        """Returns the last JSON that the program printed on the way."""
        told, last = {}, "no output"
        late = threading.Timer(limit, self.process.kill)
        late.start()
        for line in self.process.stdout:
            if line.strip() == "ready":
                late.cancel()
                return told
            if line.startswith("{"):
                told = json.loads(line)
            elif line.strip():
                last = line.strip()
                if line.startswith("torch,"):
                    say(last)
        late.cancel()
        raise Failed(f"{self.process.args[0]}: not ready, after at most {limit} s: {last}")

    def sample(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            match = re.search(r"step ([0-9.]+) ms", line)
            if match:
                return float(match[1])
        raise Failed(f"{self.process.args[0]}: ended while it was timed")

    def end(self):
        self.process.kill()
        self.process.wait()


def last_line(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:150] if lines else "no output yet"


def nvidia_smi(what):
    try:
        result = subprocess.run(["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"], capture_output=True,
                                text=True, check=True)
        return result.stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def gpu_name():
    return nvidia_smi("name")


def capability():
    """90 of compute capability 9.0; 80 where the driver does not tell."""
    return re.sub(r"\D", "", nvidia_smi("compute_cap") or "") or "80"


def header_packages(folders, out):
    """CMake's flags for packages of which there are only headers: a small package file is written for each."""
    flags = []
    for header, name, target, define in PACKAGES:
        found = [folder.resolve() for folder in folders if (folder / header).is_file()]
        if not found:
            continue
        out.mkdir(parents=True, exist_ok=True)
        text = f'add_library({target} INTERFACE IMPORTED)\n' \
               f'set_target_properties({target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "{found[0]}")\n'
        if define:
            text += f'set_target_properties({target} PROPERTIES INTERFACE_COMPILE_DEFINITIONS {define})\n'
        (out / f"{name}Config.cmake").write_text(text)
        flags.append(f"-D{name}_DIR={out}")
    return flags


def book_entries(record):
    """The record's numbers as the book wants them (docs/README.md): {KEY: {"value", "source"}}."""
    source = f"./run gpu-check on {record['device']}, commit {record['commit'][:12]}, {record['date']}"
    entries = {}

    def add(name, value):
        key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        entries[key] = {"value": value, "source": source}

    bench = record.get("bench", {})
    for name, value in bench.get("ceilings", {}).items():
        add(f"ceiling {name}", round(value, 3))
    for line in bench.get("kernels", []):
        for what in ("us", "gb_s", "tflop_s", "of_ceiling", "of_rival"):
            if what in line:
                add(f"{line['group']} {line['name']} {what}", round(line[what], 4))
    for step in bench.get("steps", []):
        for what in ("ms", "tokens_s", "mfu"):
            add(f"step {step['dtype']} {what}", round(step[what], 4))
    for dtype, steps in record.get("torch_steps", {}).items():
        add(f"torch over ours {dtype}", round(statistics.median(p["torch"] / p["ours"] for p in steps["pairs"]), 3))
    for line in record.get("torch_kernels", {}).get("attention", []):
        for what in ("forward_us", "backward_us"):
            add(f"torch {line['backend']} {line['shape']} {what}", round(line[what], 2))
    return entries


def commit():
    try:
        git = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        return git.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
