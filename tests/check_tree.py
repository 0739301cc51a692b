#!/usr/bin/env python3
"""Checks the tree: who includes whom, the sizes of files and functions, what must not be there, the reading path.

  check_tree.py               prints each fault and exits with 1 if there is one
  check_tree.py --afternoon   prints the reading path and its lines
  check_tree.py --root DIR    looks at another tree
"""
import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

# What a student reads in an afternoon, in this order: types, var, ops, attention, router, plan, layer, training loop.
AFTERNOON = """
tensor/dtype.h tensor/shape.h tensor/tensor.h
autograd/var.h autograd/var.cpp autograd/ops.h autograd/ops.cpp
nn/attention.h
moe/router.h moe/routers/topk.cpp moe/plan.h moe/plan.cpp moe/experts.h moe/experts.cpp moe/layer.h moe/layer.cpp
train/trainer.h train/trainer.cpp
""".split()
AFTERNOON_LINES = 1500

FLOORS = ["tensor", "autograd", "nn", "moe", "infer", "train"]  # each includes only itself and what stands to its left
FOLDERS = FLOORS + ["docs", "tests"]  # at the top; besides, there are .ci and .github
FILE_LINES, FUNCTION_LINES, FILE_BYTES = 400, 60, 200 * 1024
CPP, CODE = (".h", ".cpp", ".cu", ".cuh"), (".h", ".cpp", ".cu", ".cuh", ".py", ".mjs", ".cmake")

PLACE = re.compile(r"(?<![\w.~$}*-])/(?:work|root|home|farm|Users)/\w")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b")
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
# A comment, or a literal whose braces and quotes are not code.
OPAQUE = re.compile(r'''//(?:\\\n|[^\n])* | /\*.*?\*/ | R"(\w*)\(.*?\)\1" | "(?:\\.|[^"\\\n])*" |
                        (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+' ''', re.S | re.X)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
SPACE = re.compile(r"(?:\s|(?:public|private|protected)\s*:)*")  # before a declaration
KEEPS_LINES = lambda match: "\n" * match[0].count("\n")


def files(root):
    """Every file that belongs to the tree: git's list, or a walk that leaves out what git would ignore."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True) \
        if (root / ".git").exists() and any((Path(p) / "git").exists() for p in os.get_exec_path()) else None
    if git and git.returncode == 0:
        return sorted(root / name for name in git.stdout.decode().split("\0") if name and (root / name).is_file())
    left_out = re.compile(r"build.*|runs|site|__pycache__|node_modules|\.git")
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not left_out.fullmatch(name)]
        found += [Path(folder) / name for name in names]
    return sorted(found)


def opens_function(head):
    """Whether the text between the last `;`, `{` or `}` and a `{` is a function's signature."""
    plain = re.sub(r"operator\s*(?:\(\)|[^\s\w(]+)", "operator_", head)
    while True:  # take the innermost parentheses out until none is left
        shorter = re.sub(r"\([^()]*\)", "@", plain)
        if shorter == plain:
            break
        plain = shorter
    plain = re.sub(r"template\s*<.*?>\s*(?=[\w@])", "", plain, flags=re.S)
    holds_functions = re.search(r"\b(?:namespace|enum|union|struct|class)\s+\w|^\s*TEST_SUITE\b", plain)
    return "@" in plain and "=" not in plain and not holds_functions


def initialises_member(head):
    """Whether the `{` after `head` is a member's initialiser: `Name(…) : a{1}, b{2} {`."""
    return bool(re.search(r"\)[^;{}]*(?<!:):(?!:)[^;]*[\w>]\s*$", head, re.S) and not re.search(r"\?", head))


def closing(text, at):
    """The index after the brace that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1
    raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: a brace that nothing closes")


def cpp_functions(text):
    """(first line, lines) of each outermost function of a C++ or CUDA source."""
    text = DIRECTIVE.sub(KEEPS_LINES, OPAQUE.sub(KEEPS_LINES, text))
    start, at = 0, 0
    while at < len(text):
        if text[at] in ";}":
            start = at + 1
        elif text[at] == "{":
            begin = start + SPACE.match(text[start:at]).end()
            head = re.sub(r"\{[^{}]*\}", "@", text[begin:at])
            if initialises_member(head):
                at = closing(text, at)
                continue
            if opens_function(head):
                first = text.count("\n", 0, begin) + 1
                end = closing(text, at)
                yield first, text.count("\n", 0, end) + 2 - first
                at = end - 1
            start = at + 1
        at += 1


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


def check_includes(root, name, lines):
    """Yields (line, fault). Paths are written from the root; what stands to the right is out of reach."""
    floor = name.split("/")[0]
    for at, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match[1].split("/")[0]
        if not (root / match[1]).is_file():
            yield at, f'#include "{match[1]}": no such file; write the path from the root'
        elif floor in FLOORS and target not in FLOORS:
            yield at, f'#include "{match[1]}": {floor}/ may include only {", ".join(FLOORS)}'
        elif floor in FLOORS and FLOORS.index(target) > FLOORS.index(floor):
            yield at, f'#include "{match[1]}": {floor}/ stands below {target}/ ({" <- ".join(FLOORS)})'


def check_file(root, path):
    """Yields (line, fault)."""
    name, data = path.relative_to(root).as_posix(), path.read_bytes()
    if "/" in name and name.split("/")[0] not in (*FOLDERS, ".ci", ".github"):
        yield 1, f"no folder {name.split('/')[0]}/ at the top; there are {', '.join(FOLDERS)}"
    if len(data) > FILE_BYTES:
        yield 1, f"{len(data)} bytes, at most {FILE_BYTES}"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        yield 1, "is binary; the tree holds text only"
        return
    lines = text.splitlines()
    for at, line in enumerate(lines, 1):
        if PLACE.search(line):
            yield at, f"a path of one machine: {PLACE.search(line)[0]}…"
        if UNFINISHED.search(line):
            yield at, f"unfinished: {line.strip()[:60]}"
    if path.suffix not in CODE and name not in ("run", ".ci/run", "CMakeLists.txt"):
        return
    if len(lines) > FILE_LINES:
        yield 1, f"{len(lines)} lines, at most {FILE_LINES}"
    yield from check_includes(root, name, lines if path.suffix in CPP else [])
    functions = cpp_functions if path.suffix in CPP else python_functions if path.suffix == ".py" else lambda _: []
    try:
        for at, length in functions(text):
            if length > FUNCTION_LINES:
                yield at, f"a function of {length} lines, at most {FUNCTION_LINES}"
    except (ValueError, SyntaxError) as reason:
        yield 1, str(reason)


def afternoon(root, show):
    """The lines of the reading path; prints them where `show`."""
    total = 0
    for name in AFTERNOON:
        count = len((root / name).read_text().splitlines()) if (root / name).is_file() else None
        total += count or 0
        if show:
            print(f"{'-' if count is None else count:>5}  {name}{'  (not written yet)' if count is None else ''}")
    if show:
        print(f"{total:>5}  in all, at most {AFTERNOON_LINES}")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--afternoon", action="store_true")
    options = parser.parse_args()
    root = options.root.resolve()
    total = afternoon(root, options.afternoon)
    faults = [f"the afternoon's path: {total} lines, at most {AFTERNOON_LINES} (--afternoon lists them)"] \
        if total > AFTERNOON_LINES else []
    if not options.afternoon:
        checked = files(root)
        for path in checked:
            faults += [f"{path.relative_to(root)}:{at}: {fault}" for at, fault in check_file(root, path)]
        print(f"tree: {len(checked)} files, {len(faults)} faults; the afternoon's path: {total} lines")
    for fault in faults:
        print(f"error: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
