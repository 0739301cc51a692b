#!/usr/bin/env python3
"""Removes one term of one gradient at a time and expects the tests to fail.

  mutate.py                every removal, one after the other: about seven minutes on two cores
  mutate.py --only 7 12    these alone (numbers are in the table)
  mutate.py --check-texts  only checks that every text is found exactly once; this is the part that ctest runs
  mutate.py --list         prints the table

The tree is copied to a temporary folder and only the copy is changed. There the library is built for the portable
instruction set, with what the tests of gradients need and nothing else. A removal that no test notices is a gap in the
tests; a text that is no longer found has to follow the code. Either makes the exit code 1.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["test_autograd", "test_layers", "test_attention_layers", "test_model_gradients", "test_routers_gradients",
         "test_training"]
SOURCES = ["tensor/*.cpp", "tensor/cuda/absent.cpp", "autograd/*.cpp", "moe/routers/*.cpp", "train/adamw.cpp",
           "train/muon.cpp", "train/optimizer.cpp"] + \
    [f"moe/{name}.cpp" for name in ("balance", "config_io", "experts", "layer", "plan", "router", "transformer")]
FLAGS = ["-std=c++20", "-O1", "-w", "-I."]
TIMEOUT = 300  # seconds for one run of the tests; a removal that makes them hang is noticed too

# (file, text, what stands there instead, what is removed). The text must occur exactly once in the file.
MUTATIONS = [
    # The machinery.
    ("autograd/var.cpp", "add_into(grad, g);", "(void)g;", "the gradient of a second use"),
    ("autograd/var.cpp", "grad = add(grad, g);", "grad = std::move(g);",
     "the gradient of a first use, where it is shared"),
    ("autograd/var.cpp", "[](const auto& a, const auto& b) { return a->id > b->id; }",
     "[](const auto& a, const auto& b) { return a->id < b->id && false; }", "the order of age"),
    # Operations.
    ("autograd/ops.cpp", "n.inputs[0].accumulate(n.grad);\n    n.inputs[1]", "n.inputs[1]", "add: a"),
    ("autograd/ops.cpp", "n.inputs[1].accumulate(n.grad);", "", "add: b"),
    ("autograd/ops.cpp", "a.accumulate(multiply(n.grad, b.value()))", "a.accumulate(n.grad)", "multiply: the factor b"),
    ("autograd/ops.cpp", "b.accumulate(multiply(n.grad, a.value()))", "(void)a", "multiply: b"),
    ("autograd/ops.cpp", "accumulate(scale(n.grad, alpha))", "accumulate(n.grad)", "scale: alpha"),
    ("autograd/ops.cpp", "repeat_row(n.grad, {n.inputs[0].value().count()})",
     "repeat_row(Tensor::full({1}, 1, n.grad.dtype()), {n.inputs[0].value().count()})", "sum: what comes from above"),
    ("autograd/ops.cpp", "x.accumulate(matmul(n.grad, false, w.value(), false).reshape(x.shape()))", "(void)x",
     "linear: x"),
    ("autograd/ops.cpp", "w.accumulate(matmul_wide(n.grad, true, x.value(), false))", "(void)w", "linear: W"),
    ("autograd/ops.cpp", "bias.accumulate(column_sum(n.grad))", "(void)bias", "linear: the bias"),
    ("autograd/ops.cpp", "unary_backward(op, n.inputs[0].value(), n.grad)", "n.grad", "unary: the slope"),
    ("autograd/ops.cpp", "accumulate(dropout(n.grad, p, key))", "accumulate(scale(n.grad, 1 / (1 - p)))",
     "dropout: the zeros"),
    ("autograd/ops.cpp", "n.inputs[2].accumulate(std::move(g.db));", "", "layer_norm: the bias"),
    ("autograd/ops.cpp", "scale_rows(softmax(n.inputs[0].value()), n.grad)", "softmax(n.inputs[0].value())",
     "logsumexp: what comes from above"),
    ("autograd/ops.cpp", "n.inputs[0].accumulate(cast(repeat_row(n.grad, n.inputs[0].shape()), n.inputs[0].dtype()))",
     "", "column_sum: x"),
    ("autograd/ops.cpp", "accumulate(jitter(n.grad, amount, key))", "accumulate(n.grad)", "jitter: the noise"),
    ("autograd/ops.cpp",
     "const auto backward = [](Node& n) { n.inputs[0].accumulate(softmax_backward(n.value, n.grad)); };",
     "const auto backward = [](Node&) {};", "softmax_top_k: x"),
    ("autograd/ops.cpp", "x.accumulate(scale_rows(n.grad, s.value()))", "x.accumulate(n.grad)",
     "scale_rows: the factor s"),
    ("autograd/ops.cpp", "s.accumulate(row_dot(n.grad, x.value()).reshape(s.shape()))", "(void)s", "scale_rows: s"),
    ("autograd/ops.cpp", "rope(n.grad, heads, first, theta, -1)", "rope(n.grad, heads, first, theta, +1)",
     "rope: the sign of the way back"),
    ("autograd/ops.cpp", "rope(n.grad, heads, first, theta, -1)", "rope(n.grad, heads, 0, theta, -1)",
     "rope: the first position"),
    ("autograd/ops.cpp", "forward, n.grad, window)", "forward, n.grad)", "attention: the window of the way back"),
    ("autograd/ops.cpp", "copy_columns(n.grad, 0, dx, first, last - first);", "", "columns: x"),
    ("autograd/ops.cpp", "copy_columns(n.grad, at, d, 0, width);", "copy_columns(n.grad, 0, d, 0, width);",
     "concat_columns: where a part begins"),
    ("autograd/ops.cpp", "accumulate(take_columns(n.grad, index))",
     "accumulate(scale(take_columns(n.grad, index), 0))", "put_columns: x"),
    # Elementwise kernels.
    ("tensor/cpu/elementwise.cpp", "v > W(0) ? d : Vec<W>{}", "d", "relu: the zero half"),
    ("tensor/cpu/elementwise.cpp", "normal_cdf<T>(x, b) + x * (", "x * (", "gelu: Phi"),
    ("tensor/cpu/elementwise.cpp", " + x * (T(0.39894228040143267794) * b)", "", "gelu: x phi"),
    ("tensor/cpu/elementwise.cpp", "s * (T(1) + x * (T(1) - s))", "s", "silu: s' x"),
    ("tensor/cpu/elementwise.cpp", "s * (T(1) + x * (T(1) - s))", "s * x * (T(1) - s)", "silu: s"),
    ("tensor/cpu/elementwise.cpp", "d * e / ((W(1) + e) * (W(1) + e))", "d * e / (W(1) + e)", "sigmoid: 1 - s"),
    ("tensor/cpu/elementwise.cpp", "return d * exp<W>(v);", "return d;", "exp: the slope"),
    ("tensor/cpu/elementwise.cpp", "return d / v;", "return d;", "log: the slope"),
    ("tensor/cpu/elementwise.cpp", "dv * u * silu_slope<Wide<T>>(g, s)", "dv * silu_slope<Wide<T>>(g, s)",
     "swiglu: gate's factor up"),
    ("tensor/cpu/elementwise.cpp", "dv * g * s", "dv * s", "swiglu: up's factor gate"),
    # Rows.
    ("tensor/cpu/reduce.cpp", "pv * (dv - mean)", "pv * dv", "softmax: the mean"),
    ("tensor/cpu/reduce.cpp", "pv * (dv - mean)", "dv - mean", "softmax: the factor p"),
    ("tensor/cpu/reduce.cpp", "((a + b) + (c + d))", "((a + b) + c)", "column_sum: every fourth row"),
    ("tensor/cpu/norm.cpp", "inverse * (g - normal * mean)", "inverse * g", "rms_norm: the way through the root"),
    ("tensor/cpu/norm.cpp", "inverse * (g - normal * mean)", "g - normal * mean", "rms_norm: 1 / rms"),
    ("tensor/cpu/norm.cpp", "load_up_to(w + i, cols - i) * load_up_to(d + i, cols - i) * (",
     "load_up_to(d + i, cols - i) * (", "rms_norm: w in the mean"),
    ("tensor/cpu/norm.cpp", "load_up_to(sums + i, cols - i) + dv * normal", "load_up_to(sums + i, cols - i)",
     "rms_norm: w"),
    ("tensor/cpu/norm.cpp", "load_up_to(sums + i, cols - i) + dv * normal", "dv * normal",
     "rms_norm: w's earlier rows"),
    ("tensor/cpu/norm.cpp", "inverse * (g - g_mean - normal * gx_mean)", "inverse * (g - normal * gx_mean)",
     "layer_norm: the way through the mean"),
    ("tensor/cpu/norm.cpp", "inverse * (g - g_mean - normal * gx_mean)", "inverse * (g - g_mean)",
     "layer_norm: the way through the variance"),
    ("tensor/cpu/norm.cpp", "load_up_to(dw_sums + i, cols - i) + dv * normal", "load_up_to(dw_sums + i, cols - i) + dv",
     "layer_norm: w's factor x^"),
    ("tensor/cpu/norm.cpp", "load_up_to(db_sums + i, cols - i) + dv", "dv", "layer_norm: the bias's earlier rows"),
    ("tensor/cpu/loss.cpp", "T(factor * (own[0] - 1))", "T(factor * own[0])", "cross_entropy: the target"),
    ("tensor/cpu/loss.cpp", "factor * exp<Wide<T>>(v - shift)", "exp<Wide<T>>(v - shift)", "cross_entropy: what comes from above"),
    # By index.
    ("tensor/cpu/gather.cpp", "return s + v; };", "return v + 0 * s; };", "gather_rows: a row's other readers"),
    ("tensor/cpu/gather.cpp", "if (index[i] == index[j]) sum += dy[i];", "if (i == j) sum += dy[i];",
     "take_columns: a column's other readers"),
    ("tensor/cpu/segments.cpp", "return weight * v; }", "return v + 0 * weight; }", "combine: the gate"),
    ("tensor/cpu/segments.cpp", "for (; i < n; ++i) sum += Wide<T>(a[i]) * b[i];", "", "combine: the gate's last columns"),
    ("tensor/cpu/rope.cpp", "direction * __builtin_pow", "__builtin_pow", "rope: the direction"),
    # Attention.
    ("tensor/cpu/attention.cpp", "probability * (load(ds + at) - mean)", "probability * load(ds + at)",
     "attention: softmax's mean"),
    ("tensor/cpu/attention.cpp", "probability * (load(ds + at) - mean)", "load(ds + at) - mean",
     "attention: softmax's factor p"),
    ("tensor/cpu/attention.cpp", "run.dqt, tile, Wide<T>(s.scale), out", "run.dqt, tile, Wide<T>(1), out",
     "attention: the queries' scale"),
    ("tensor/cpu/attention.cpp", "T(Wide<T>(s.scale) * run.dk[", "T(run.dk[", "attention: the keys' scale"),
    ("tensor/cpu/attention.cpp", "width, true, dv + at", "width, false, dv + at",
     "attention: a value's earlier readers"),
    ("tensor/cpu/attention.cpp", "width, true, dk + at", "width, false, dk + at", "attention: a key's earlier readers"),
    ("tensor/cpu/attention.cpp", "ds + column, tile, true, dqt", "ds + column, tile, false, dqt",
     "attention: a query's earlier keys"),
    ("tensor/cpu/attention.cpp", "sum += load_up_to(part + chunk * split.part + c, cols - c);", "",
     "attention: a query's later chunks of keys"),
    # Grouped products.
    ("tensor/cpu/gemm.cpp", "Operand<T>{x, in, false, row + s}", "Operand<T>{x, in, false, row}",
     "experts: the weights' first slot, by token"),
    ("tensor/cpu/gemm.cpp", "Operand<T>{x + s * in, in, false}", "Operand<T>{x, in, false}",
     "experts: the weights' first slot"),
    ("tensor/cpu/gemm.cpp", "weight{w + e * out * in, in, false}", "weight{w, in, false}", "experts: whose weights"),
    ("moe/experts.cpp", "w.accumulate(std::move(dw));", "", "grouped_linear: W"),
    ("nn/low_rank.h", "linear(x, down)", "linear(Var(x.value()), down)", "adapter: x"),
    ("moe/grouped_linear.h", "grouped_linear(x, adapter->down, plan, rows)",
     "grouped_linear(Var(x.value()), adapter->down, plan, rows)", "adapter of experts: x"),
    ("moe/experts.cpp", "row.defined() ? combine(first, slot, Tensor(), dx) : dx",
     "row.defined() ? Tensor::zeros(x.shape(), dx.dtype()) : dx", "grouped_linear: x by token"),
    ("moe/experts.cpp", "row.defined() ? combine(first, slot, Tensor(), dx) : dx",
     "row.defined() ? combine(first, slot, Tensor(), dx) : Tensor::zeros(x.shape(), dx.dtype())",
     "grouped_linear: x by slot"),
    ("moe/experts.cpp", "slots.accumulate(std::move(g.dx));", "", "combine: the slots"),
    ("moe/experts.cpp", "gate.accumulate(std::move(g.d_gate));", "", "combine: the gates"),
    # The mixture of experts.
    ("moe/balance.cpp", "column_sum(scale_rows(probability, weights))",
     "Var(column_sum(scale_rows(probability, weights)).value())", "balance loss: P"),
    ("moe/balance.cpp", "multiply(multiply(z, z), weights)", "multiply(multiply(z, Var(z.value())), weights)",
     "z-loss: half of the square"),
    ("moe/routers/topk.cpp", "take_columns(divide ? logits : probability, best)",
     "Var(take_columns(divide ? logits : probability, best).value())", "top-k router: the gates"),
    ("moe/routers/switch.cpp", "take_columns(probability, best), input",
     "Var(take_columns(probability, best).value()), input", "Switch router: the gate"),
    ("moe/routers/soft.cpp", "take_columns(probability, order)", "Var(take_columns(probability, order).value())",
     "soft router: the gates"),
    ("moe/routers/noisy_topk.cpp", "softmax(take_columns(noisy, best))",
     "Var(softmax(take_columns(noisy, best)).value())",
     "noisy router: the gates"),
    ("moe/routers/noisy_topk.cpp", "multiply(deviation, normal_numbers",
     "multiply(Var(deviation.value()), normal_numbers", "noisy router: the noise's weights"),
    ("moe/routers/noisy_topk.cpp", "noise_(view)", "noise_(Var(view.value()))", "noisy router: x by way of the noise"),
    ("moe/routers/noisy_topk.cpp", "add(clean, scale(threshold, -1))", "add(clean, scale(Var(threshold.value()), -1))",
     "load: the threshold"),
    ("moe/routers/noisy_topk.cpp", "add(clean, scale(threshold, -1)), one_over)",
     "add(clean, scale(threshold, -1)), Var(one_over.value()))", "load: the deviation"),
    ("moe/routers/gshard.cpp", "softmax(take_columns(logits, best))",
     "Var(softmax(take_columns(logits, best)).value())",
     "GShard router: the gates"),
    ("moe/routers/deepseek_v2.cpp", "scaled(gate, config_.gate_scale)", "Var(gate.value())",
     "DeepSeek-V2 router: the gates"),
    ("moe/routers/deepseek_v2.cpp", "weighted_sum(probability, device)",
     "weighted_sum(Var(probability.value()), device)",
     "device loss: P"),
    ("moe/routers/deepseek_v2.cpp", "weighted_sum(probability, communication)",
     "weighted_sum(Var(probability.value()), communication)", "communication loss: P"),
    ("moe/routers/deepseek_v3.cpp", "scaled(gate, config_.gate_scale)", "Var(gate.value())",
     "DeepSeek-V3 router: the gates"),
    ("moe/routers/deepseek_v3.cpp", "sequence_balance_loss(probability,",
     "sequence_balance_loss(Var(probability.value()),", "DeepSeek-V3 router: P"),
    ("moe/routers/expert_choice.cpp", "gather_rows(reshape(probability,",
     "gather_rows(reshape(Var(probability.value()),",
     "expert choice: the gates"),
    ("moe/routers/base.cpp", "unary(Unary::sigmoid, take_columns(affinity, expert))",
     "Var(unary(Unary::sigmoid, take_columns(affinity, expert)).value())", "BASE router: the gate"),
    ("moe/routers/sinkhorn.cpp", "take_columns(gate, best)", "Var(take_columns(gate, best).value())",
     "Sinkhorn router: the gates"),
    ("moe/balance.cpp", "put_columns(gate, column", "put_columns(Var(gate.value()), column",
     "importance: the gates"),
    ("moe/balance.cpp", "add(multiply(average, average), tiny)", "Var(add(multiply(average, average), tiny).value())",
     "importance: the mean in the denominator"),
    ("moe/balance.cpp", "return sum(multiply(probability, Var(constant",
     "return sum(multiply(Var(probability.value()), Var(constant", "losses by sequence: P"),
    ("moe/plan.cpp", "plan.gate = gather_rows(selection.gate, plan.slot_proposal);",
     "plan.gate = Var(gather_rows(selection.gate, plan.slot_proposal).value());", "plan: the gates"),
    ("moe/plan.cpp", "replayed.gate = gather_rows(selection.gate, plan.slot_proposal);",
     "replayed.gate = Var(gather_rows(selection.gate, plan.slot_proposal).value());", "replayed plan: the gates"),
    ("moe/layer.cpp", "y = add(y, shared(input.x));", "y = add(y, Var(shared(input.x).value()));",
     "the shared experts"),
    ("moe/transformer.cpp", "x = add(x, drop(block.attend(", "x = add(Var(x.value()), drop(block.attend(",
     "the residual stream past attention"),
    ("moe/transformer.cpp", "found->value = add(found->value, term.value);",
     "found->value = add(found->value, Var(term.value.value()));", "the later layers' auxiliary losses"),
    ("moe/transformer.cpp", "head_ ? head_->weight : embedding_.weight",
     "head_ ? head_->weight : Var(embedding_.weight.value())", "the tied embedding's second use"),
    # The optimizer.
    ("tensor/cpu/optim.cpp", " + kept * w[i]", "", "AdamW: weight decay"),
    ("tensor/cpu/optim.cpp", "v[i] * correction2", "v[i]", "AdamW: the second moment's correction"),
    ("tensor/cpu/optim.cpp", "gradient_scale * gradient[i]", "gradient[i]", "AdamW: clipping and averaging"),
]

# The other instruction sets are not built; the program must link without them.
STUBS = """#include <cstdlib>
#include "tensor/cpu/limits.h"
#include "tensor/kernels.h"
namespace switchyard::cpu {
#define ABSENT(isa) namespace isa { template <class T> const Kernels<T>& table() { std::abort(); } \\
  template const Kernels<float>& table(); template const Kernels<double>& table(); \\
  template const Kernels<bf16>& table(); \\
  MeasuringLoops measuring_loops() { std::abort(); } }
ABSENT(avx2)
ABSENT(avx512)
}
"""


def check_texts():
    """Prints the mutations whose text is not in its file exactly once; returns their number."""
    faults = 0
    for number, (file, text, _, what) in enumerate(MUTATIONS, 1):
        count = (ROOT / file).read_text().count(text) if (ROOT / file).is_file() else 0
        if count != 1:
            faults += 1
            print(f"error: mutation {number} ({what}): found {count} times in {file}, must be once: {text}")
    return faults


class Build:
    """A copy of the tree and its objects; `compiler` runs in it with relative paths."""

    def __init__(self, folder, jobs):
        self.folder, self.jobs = folder, jobs
        self.compiler = os.environ.get("CXX", "c++")
        for floor in ("tensor", "autograd", "nn", "moe", "train"):
            shutil.copytree(ROOT / floor, folder / floor)
        (folder / "tests").mkdir()
        for path in [*ROOT.glob("tests/*.h"), *(ROOT / f"tests/{name}.cpp" for name in [*TESTS, "main"])]:
            shutil.copy(path, folder / "tests")
        (folder / "stubs.cpp").write_text(STUBS)
        (folder / "objects").mkdir()
        sources = [path for pattern in SOURCES for path in folder.glob(pattern)]
        sources += folder.glob("tensor/cpu/*.cpp")
        sources += [folder / f"tests/{name}.cpp" for name in [*TESTS, "main"]] + [folder / "stubs.cpp"]
        self.sources = sorted(path.relative_to(folder).as_posix() for path in sources)

    def object_of(self, source):
        return "objects/" + source.replace("/", "-").replace(".cpp", ".o")

    def compile(self, source):
        """Raises with the compiler's words if it refuses."""
        kernel = ["-DSWITCHYARD_ISA=portable", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
        flags = FLAGS + (kernel if source.startswith("tensor/cpu/") else [])
        made = subprocess.run([self.compiler, *flags, "-c", source, "-o", self.object_of(source)], cwd=self.folder,
                              capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"{source} does not compile:\n{made.stderr[:2000]}")

    def compile_all(self):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for done, _ in enumerate(pool.map(self.compile, self.sources), 1):
                print(f"\rbuilding the tests: {done}/{len(self.sources)} files", end="", flush=True)
        print()

    def compile_users(self, file):
        """Compiles a source, or every source that a header is part of."""
        users = [file] if file.endswith(".cpp") else [s for s in self.sources if file in self.parts_of(s)]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self.compile, users))

    def parts_of(self, source):
        """The files of the tree that a source includes, directly or not."""
        listed = subprocess.run([self.compiler, *FLAGS, "-DSWITCHYARD_ISA=portable", "-MM", source], cwd=self.folder,
                                capture_output=True, text=True, check=True)
        return [os.path.normpath(word) for word in listed.stdout.split()]

    def test(self):
        """Links and runs the tests; returns None if they pass, else what they stumbled over."""
        linked = subprocess.run([self.compiler, *map(self.object_of, self.sources), "-o", "tests-program", "-lfmt",
                                 "-pthread"], cwd=self.folder, capture_output=True, text=True)
        if linked.returncode:
            raise RuntimeError(f"the tests do not link:\n{linked.stderr[:2000]}")
        command = ["./tests-program", "--abort-after=1", "--no-colors=true", "-tce=a chain of a million*"]
        try:
            ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT,
                                 env={**os.environ, "SWITCHYARD_ISA": "portable"})
        except subprocess.TimeoutExpired:
            return f"no end after {TIMEOUT} s"
        if ran.returncode == 0:
            return None
        case = re.findall(r"^TEST CASE: +(.*)$", ran.stdout[:ran.stdout.rfind("ERROR")] or ran.stdout, re.M)
        at = re.search(r"^ +logged: .* := (.*)$", ran.stdout, re.M)  # the first thing captured: the operation or model
        return (case[-1] if case else f"exit code {ran.returncode}") + (f" [{at[1]}]" if at else "")

    def mutated(self, file, text, replacement):
        """What test() says of the tree with this one change; the file is as before afterwards."""
        path = self.folder / file
        before = path.read_text()
        path.write_text(before.replace(text, replacement))
        try:
            self.compile_users(file)
            return self.test()
        finally:
            path.write_text(before)


def run(numbers, jobs):
    """Tries the mutations of these numbers; returns how many survived."""
    survivors, start = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="switchyard-mutate-") as folder:
        build = Build(Path(folder), jobs)
        build.compile_all()
        stumbled = build.test()
        if stumbled:
            raise RuntimeError(f"the tests fail on the tree as it is: {stumbled}")
        print(f"built, and passing as it is, after {time.monotonic() - start:.0f} s", flush=True)
        start, last_file = time.monotonic(), None
        for done, number in enumerate(numbers):
            file, text, replacement, what = MUTATIONS[number - 1]
            if last_file not in (None, file):
                build.compile_users(last_file)
            last_file = file
            caught = build.mutated(file, text, replacement)
            if caught is None:
                survivors.append(f"{number} ({what})")
            left = (time.monotonic() - start) / (done + 1) * (len(numbers) - done - 1)
            print(f"{number:>3}  {int(left) // 60}:{int(left) % 60:02} left  {file:<27} {what:<47} "
                  f"{'SURVIVES' if caught is None else 'caught: ' + caught}", flush=True)
    print(f"{len(numbers) - len(survivors)} of {len(numbers)} removals caught")
    for survivor in survivors:
        print(f"error: no test notices mutation {survivor}")
    return len(survivors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-texts", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", type=int, nargs="+", metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="compilers at once while the tests are built")
    options = parser.parse_args()
    if options.list:
        for number, (file, _, _, what) in enumerate(MUTATIONS, 1):
            print(f"{number:>3}  {file:<27} {what}")
        return 0
    faults = check_texts()
    if faults or options.check_texts:
        print(f"{len(MUTATIONS)} texts, {faults} not found exactly once")
        return 1 if faults else 0
    numbers = options.only or range(1, len(MUTATIONS) + 1)
    for number in numbers:
        if not 1 <= number <= len(MUTATIONS):
            print(f"error: --only {number}: must be 1 to {len(MUTATIONS)}", file=sys.stderr)
            return 2
    try:
        return 1 if run(list(numbers), options.jobs) else 0
    except RuntimeError as reason:
        print(f"error: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
