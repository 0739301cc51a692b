#!/usr/bin/env python3
"""Keeps the book true: its excerpts, outputs, numbers, figures and links equal the code, the programs and the records.

  book.py check             changes nothing; says what is no longer true and exits with 1
  book.py sync              rewrites excerpts, outputs, numbers and figures where they differ
  book.py record [WHAT…]    reruns what is recorded (a chapter, RECORD.KEY, or a machine; else all but what belongs to
                            a machine), stamps it with commit and processor, then syncs

The pages are plain Markdown: docs/*.md and the README. The directives are comments, so a reader does not see them:

  <!-- code: FILE#SNIPPET -->      above a fenced block: the lines of FILE between //@begin SNIPPET and //@end SNIPPET
                                   (#@begin in Python, bash and CMake)
  <!-- run: COMMAND -->            above a text block: the command's output, rerun by check; the same each time, in 2 s
  <!-- recorded: COMMAND -->       the same for a command that takes long: rerun by record, kept in docs/record/
  <!-- num: RECORD.KEY FORMAT -->1.32<!-- /num -->      a number of docs/record/RECORD.json, in printf's format
  <!-- table: EXPERIMENT KEY:DIGITS … -->  above a table's two first lines: a row for each variant of
                                   docs/record/reproduce-EXPERIMENT.json; a KEY without digits is what the paper has

A record is {KEY: {"value", "run": COMMAND, "match": REGEX, "where", …}}: the value is the regex's group in the output
of the command. "list": true takes every match, "tolerance" allows a difference, and a number from a paper has "source"
in place of "run". `where` is "any" (check reruns it), "slow" (record does) or a machine's name (`record NAME` does).
In a command, `./run train` and `build/…` mean the programs of the folder that --build names.

docs/figures/fig_NAME.py prints fig_NAME.svg, from records alone.
"""
import argparse
import difflib
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from page import DIRECTIVE, FENCE, NUMBER, check_page, chapter_number, prose
from table import table_rows

COLUMNS = 78  # of an excerpt; wider ones overflow the page
LINES_WARN, LINES_MAX = 12, 25  # of an excerpt
SECONDS_WARN, SECONDS_MAX = 2, 30  # of a command that check reruns
TRAINER = "demo train finetune eval export replay inspect route tokenize corpus reproduce report"  # its commands
PROGRAMS = {**dict.fromkeys(TRAINER.split(), "switchyard-train"), "generate": "switchyard-infer"}
LANGUAGES = {".h": "cpp", ".cpp": "cpp", ".cu": "cpp", ".cuh": "cpp", ".py": "python", ".cmake": "cmake", "": "bash"}

MARKER = re.compile(r"\s*(?://|#) ?@(begin|end|task|endtask)\b ?(\S*)")


class Stale(Exception):
    """Something that the book says cannot be shown to be true."""


def number(text):
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            pass
    return text


class Book:
    def __init__(self, root, build):
        self.root, self.build = root, build
        self.errors, self.notes, self.used = [], [], set()
        self.outputs, self.sources = {}, {}
        self.limit = SECONDS_MAX
        self.counts = {"excerpts": 0, "outputs": 0, "tables": 0, "numbers": 0, "figures": 0}
        self.records = {path.stem: json.loads(path.read_text()) for path in sorted(root.glob("docs/record/*.json"))}
        self.pages = [p for p in (root / "README.md", *sorted(root.glob("docs/*.md"))) if p.exists()]

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def error(self, where, text):
        self.errors.append(f"{where}: {text}")

    def note(self, where, text):
        self.notes.append(f"{where}: {text}")

    # ---- excerpts

    def snippets(self, path):
        """{name: lines} of a source file, without marker lines, dedented."""
        if path in self.sources:
            return self.sources[path]
        found, unfinished = {}, {}
        for at, line in enumerate(path.read_text().splitlines(), 1):
            marker = MARKER.match(line)
            if not marker:
                for body in unfinished.values():
                    body.append(line)
            elif marker[1] == "begin":
                if marker[2] in found:
                    self.error(f"{self.name(path)}:{at}", f"a second snippet {marker[2]}; names are unique in a file")
                found[marker[2]] = unfinished[marker[2]] = []
            elif marker[1] == "end" and unfinished.pop(marker[2], None) is None:
                self.error(f"{self.name(path)}:{at}", f"@end {marker[2]} without its @begin")
        for missing in unfinished:
            self.error(self.name(path), f"snippet {missing} never ends; add @end {missing}")
        clean = {key: textwrap.dedent("\n".join(body)).strip("\n").split("\n") for key, body in found.items()}
        return self.sources.setdefault(path, clean)

    def excerpt(self, target, where):
        file, _, name = target.partition("#")
        path = self.root / file
        if not path.is_file():
            raise Stale(f"code: {file}: no such file")
        if name not in self.snippets(path):
            near = difflib.get_close_matches(name, self.snippets(path), 1, 0)
            hint = f"; nearest: {near[0]}" if near else ""
            raise Stale(f"code: {file} has no snippet {name or '(give FILE#SNIPPET)'}{hint}")
        body = self.snippets(path)[name]
        self.used.add((path, name))
        self.counts["excerpts"] += 1
        if len(body) > LINES_MAX:
            self.error(where, f"{target}: {len(body)} lines, at most {LINES_MAX} ({LINES_WARN} is the aim)")
        elif len(body) > LINES_WARN:
            self.note(where, f"{target}: {len(body)} lines; {LINES_WARN} read better")
        for line in body:
            if len(line) > COLUMNS:
                self.error(where, f"{target}: {len(line)} columns, at most {COLUMNS}: {line.strip()[:40]}…")
        return LANGUAGES.get(path.suffix, path.suffix[1:]), body

    # ---- programs

    def output(self, command):
        """What the command prints; run once however often the book asks."""
        if command in self.outputs:
            return self.outputs[command]
        place = shlex.quote(str(self.build))
        program = lambda match: f"{place}/{PROGRAMS[match[1]]} {match[1]}"
        shell = re.sub(rf"(?<!\S)\./run ({'|'.join(PROGRAMS)})\b", program, command)
        shell = re.sub(r"(?<!\S)\./run lesson (?=\d)", lambda _: f"{place}/lesson-", shell)
        shell = re.sub(r"(?<![\w./-])build/", lambda _: f"{place}/", shell)
        start = time.monotonic()
        try:
            done = subprocess.run(["bash", "-c", "set -o pipefail; " + shell], cwd=self.root, timeout=self.limit,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            raise Stale(f"`{command}` took more than {self.limit} s; use `recorded:` and ./run book record") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().split("\n")[-1]
            raise Stale(f"`{command}` ended with {done.returncode}: {said}")
        seconds = time.monotonic() - start
        if self.limit and seconds > SECONDS_WARN:
            self.note(command, f"took {seconds:.1f} s; {SECONDS_WARN} s is the limit of a `run:`")
        return self.outputs.setdefault(command, "\n".join(line.rstrip() for line in done.stdout.rstrip().split("\n")))

    def transcript(self, kind, command, page, where):
        """`$ command` and its output, as a reader would see it."""
        if kind == "run":
            output = self.output(command)
        elif "value" in self.records.get(page.stem, {}).get(f"$ {command}", {}):
            output = self.records[page.stem][f"$ {command}"]["value"]
            self.used.add((page.stem, f"$ {command}"))
        else:
            raise Stale(f"recorded: never recorded; ./run book record {page.stem} does it")
        self.counts["outputs"] += 1
        wide = max(map(len, output.split("\n")))
        if wide > COLUMNS:
            self.note(where, f"`{command}` prints {wide} columns; {COLUMNS} fit")
        prompt = textwrap.wrap(f"$ {command}", COLUMNS - 2, subsequent_indent="    ", break_long_words=False,
                               break_on_hyphens=False)
        return "text", " \\\n".join(prompt).split("\n") + output.split("\n")

    # ---- records

    def value(self, entry):
        """The value that the entry's command has now."""
        output = self.output(entry["run"])
        if "match" not in entry:
            return output
        found = re.findall(entry["match"], output, re.M)
        values = [[number(part) for part in v] if isinstance(v, tuple) else number(v) for v in found]
        if entry.get("list"):
            return values
        if len(values) != 1:
            raise Stale(f"/{entry['match']}/ matches {len(values)} times in the output of `{entry['run']}`, not once")
        return values[0]

    def check_records(self):
        for record, entries in self.records.items():
            for key, entry in entries.items():
                where = f"docs/record/{record}.json"
                if "value" not in entry or not ("source" in entry or "run" in entry and "where" in entry):
                    self.error(where, f"{key}: needs a value, and run and where, or source")
                elif entry.get("where") == "any":
                    try:
                        self.compare(where, record, key, entry)
                    except Stale as reason:
                        self.error(where, f"{key}: {reason}")

    def compare(self, where, record, key, entry):
        now, then, tolerance = self.value(entry), entry["value"], entry.get("tolerance", 0)
        close = tolerance and isinstance(now, (int, float)) and abs(now - then) <= tolerance
        if now != then and not close:
            self.error(where, f"{key} is {then}, the program says {now}; ./run book record {record}.{key} accepts it")

    def numbers(self, line, where):
        def current(match):
            record, key, form, old = match.groups()
            entry = self.records.get(record, {}).get(key)
            self.counts["numbers"] += 1
            try:
                if entry is None:
                    raise Stale(f"docs/record/{record}.json has no {key}")
                value = entry["value"]
                new = format(value, "," + form[2:].replace("d", "")) if form.startswith("%,") else form % value
            except (Stale, TypeError, ValueError, KeyError) as reason:
                self.error(where, f"num: {record}.{key} {form}: {reason}")
                new = old
            return f"<!-- num: {record}.{key} {form} -->{new}<!-- /num -->"
        return NUMBER.sub(current, line)

    def table(self, experiment, *columns):
        self.counts["tables"] += 1
        try:
            return table_rows(self.records[f"reproduce-{experiment}"], columns)
        except KeyError as missing:
            raise Stale(f"table: docs/record/reproduce-{experiment}.json: no {missing}; "
                        f"./run reproduce {experiment} --record") from None

    def record(self, wanted):
        """Reruns what is wanted and stamps it."""
        self.limit = None
        for page in self.pages:
            for line in prose(page.read_text().split("\n")):
                match = DIRECTIVE.match(line)
                if match and match[1] == "recorded":
                    entry = {"run": match[2], "where": "slow"}
                    self.records.setdefault(page.stem, {}).setdefault(f"$ {match[2]}", entry)
        stamp, count = self.stamp(), 0
        for record, entries in self.records.items():
            for key, entry in entries.items():
                names = {record, f"{record}.{key}", entry.get("where")}
                chosen = names & set(wanted) if wanted else entry.get("where") in ("any", "slow")
                if not chosen or "run" not in entry:
                    continue
                print(f"recording {record}.{key}", file=sys.stderr)
                try:
                    entry.update(value=self.value(entry), **stamp)
                    count += 1
                except Stale as reason:
                    self.error(f"docs/record/{record}.json", f"{key}: {reason}")
            kept = {key: entry for key, entry in entries.items() if "value" in entry}
            if kept:
                path = self.root / f"docs/record/{record}.json"
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
        if wanted and not count:
            self.error(" ".join(wanted), "records nothing; give a chapter (11-routing), RECORD.KEY or a machine")
        self.limit = SECONDS_MAX

    def stamp(self):
        """Where a record comes from."""
        def ask(*command):  # "" where there is no such program
            if not shutil.which(command[0]):
                return ""
            return subprocess.run(command, cwd=self.root, capture_output=True, text=True).stdout.strip()

        info = Path("/proc/cpuinfo")
        cpu = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
        gpu = ask("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
        stamp = {"commit": ask("git", "describe", "--always", "--dirty") or "none", "cpu": cpu[1] if cpu else "unknown"}
        return {**stamp, "gpu": gpu} if gpu else stamp

    # ---- pages

    def render(self, page):
        """The page's lines as they should be."""
        lines, out, at = page.read_text().split("\n"), [], 0
        while at < len(lines):
            line, where = lines[at], f"{self.name(page)}:{at + 1}"
            at += 1
            directive, fence = DIRECTIVE.match(line), FENCE.match(line)
            if fence:
                end = self.closing(lines, at - 1, where)
                out, at = out + lines[at - 1:end], end
                continue
            out.append(self.numbers(line, where))
            if not directive:
                continue
            kind, argument = directive.groups()
            end = self.closing(lines, at, where) if at < len(lines) and FENCE.match(lines[at]) else at
            try:
                if kind == "table":
                    end = next(i for i in range(at, len(lines)) if not lines[i].startswith("|"))
                    out += lines[at:at + 2] + self.table(*argument.split())
                    at = end
                    continue
                language, body = (self.excerpt(argument, where) if kind == "code" else
                                  self.transcript(kind, argument, page, where))
                mark = "````" if any("```" in text for text in body) else "```"
                out += [mark + language, *body, mark]
            except Stale as reason:
                self.error(where, str(reason))
                out += lines[at:end]
            at = end
        return out

    def closing(self, lines, start, where):
        """The index after the fenced block that starts at `start`."""
        mark = FENCE.match(lines[start])[1]
        for end in range(start + 1, len(lines)):
            if re.fullmatch(rf"\s*{mark}{mark[0]}*\s*", lines[end]):
                return end + 1
        self.error(where, "this fenced block never ends")
        return len(lines)

    def figures(self, write):
        scripts = sorted((self.root / "docs/figures").glob("fig_*.py"))
        for script in scripts:
            picture, self.counts["figures"] = script.with_suffix(".svg"), self.counts["figures"] + 1
            done = subprocess.run([sys.executable, "-B", script], cwd=self.root, capture_output=True)
            if done.returncode:
                self.error(self.name(script), done.stderr.decode().strip().split("\n")[-1])
            elif not picture.exists() or picture.read_bytes() != done.stdout:
                if write:
                    picture.write_bytes(done.stdout)
                else:
                    self.error(self.name(picture), f"is not what {script.name} draws; ./run book sync redraws it")
        for picture in sorted((self.root / "docs/figures").glob("*.svg")):
            if picture.with_suffix(".py") not in scripts:
                self.error(self.name(picture), f"no {picture.stem}.py draws it; figures come from records")

    def unused(self):
        """Notes what no page shows."""
        for record, entries in self.records.items():
            for key in entries:
                if key.startswith("$ ") and (record, key) not in self.used:
                    self.note(f"docs/record/{record}.json", f"{key}: no page shows this output")
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if parts[0].startswith(("build", ".")) or path.suffix not in LANGUAGES or not path.is_file():
                continue
            if not path.suffix and path.name != "run":
                continue
            for name in self.snippets(path):
                if (path, name) not in self.used:
                    self.note(self.name(path), f"snippet {name} is in no chapter")

    def go(self, write):
        for page in self.pages:
            old, new = page.read_text().split("\n"), self.render(page)
            if old != new and write:
                page.write_text("\n".join(new))
                print(f"{self.name(page)}: rewritten", file=sys.stderr)
            elif old != new:
                diff = list(difflib.unified_diff(old, new, "in the book", "now true", lineterm="", n=1))
                self.error(self.name(page), "is behind; ./run book sync mends it\n    " + "\n    ".join(diff[:40]))
            for at, text in check_page(page, new):
                self.error(f"{self.name(page)}:{at}", text)
        self.figures(write)
        self.check_records()
        self.unused()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the tree")
    parser.add_argument("--build", type=Path, help="where the programs are (default: ROOT/build)")
    parser.add_argument("action", choices=["check", "sync", "record"])
    parser.add_argument("what", nargs="*", help="for record: a chapter, RECORD.KEY, or a machine's name")
    options = parser.parse_args()
    if options.what and options.action != "record":
        parser.error(f"{options.action} takes no arguments")
    root = options.root.resolve()
    book = Book(root, (options.build or root / "build").resolve())
    if options.action == "record":
        book.record(options.what)
    book.go(write=options.action != "check")
    for note in book.notes:
        print(f"note: {note}", file=sys.stderr)
    for error in book.errors:
        print(f"error: {error}", file=sys.stderr)
    counts = ", ".join(f"{count} {what}" for what, count in book.counts.items())
    chapters = sum(chapter_number(page) is not None for page in book.pages)
    print(f"book: {chapters} chapters, {counts}: {f'{len(book.errors)} errors' if book.errors else 'all true'}")
    return 1 if book.errors else 0


if __name__ == "__main__":
    sys.exit(main())
