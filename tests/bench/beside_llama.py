#!/usr/bin/env python3
"""Times generation by us and by llama.cpp in turn, on the same weights in F32, and prints medians and their ratios.

  python3 tests/bench/beside_llama.py LIBRARIES [MODEL] [--threads 2] [--pairs 7] [--prompt 256] [--generate 255]
                                        [--cache f32|f16]

LIBRARIES: the folder of libllama and libggml. npm carries them prebuilt: after `npm install --ignore-scripts
@node-llama-cpp/linux-x64@3.22.1` they lie in node_modules/@node-llama-cpp/linux-x64/bins/linux-x64.
MODEL: what `./run bench generate` takes (build it first): a preset or a shape with random weights, or a checkpoint's
directory. Both read the prompt in one pass, then take the most probable token, step by step. llama.cpp runs on threads
that live on, as in its own benchmark, and keeps keys and values in f32, as we do, unless --cache f16 asks for its own
defaults (half as fast on heads 48 wide). Of it only the decoding is timed, not the choice of the token; of ours,
everything. Machines are noisy: only what is measured in turn may be compared."""
import argparse
import ctypes
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from gguf import write_gguf


class Batch(ctypes.Structure):  # llama_batch
    _fields_ = [("n_tokens", ctypes.c_int32)] + [(name, ctypes.c_void_p) for name in
                                                 ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


class Pool(ctypes.Structure):  # ggml_threadpool_params
    _fields_ = [("cpumask", ctypes.c_bool * 512), ("n_threads", ctypes.c_int), ("priority", ctypes.c_int),
                ("poll", ctypes.c_uint32), ("strict_cpu", ctypes.c_bool), ("paused", ctypes.c_bool)]


class Opaque(ctypes.Structure):
    """Parameters of llama.cpp's, of which we know the first fields; larger than any version's, which does no harm."""
    _fields_ = [("first", ctypes.c_uint32 * 256)]


class Llama:
    def __init__(self, libraries, gguf, context, threads, cache):
        load = lambda name: ctypes.CDLL(str(sorted(pathlib.Path(libraries).glob(name))[0]), mode=ctypes.RTLD_GLOBAL)
        base, ggml, self.llama = load("libggml-base.so*"), load("libggml.*so*"), load("libllama.*so*")
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        base.ggml_log_set(self.quiet, None)
        self.llama.llama_log_set(self.quiet, None)
        ggml.ggml_backend_load_all_from_path(str(libraries).encode())
        model = self.call("llama_model_load_from_file", ctypes.c_void_p, gguf.encode(),
                          self.call("llama_model_default_params", Opaque))
        parameters = self.call("llama_context_default_params", Opaque)
        parameters.first[0] = parameters.first[1] = parameters.first[2] = context  # n_ctx, n_batch, n_ubatch
        self.set_cache(parameters, cache)
        self.context = ctypes.c_void_p(self.call("llama_init_from_model", ctypes.c_void_p, ctypes.c_void_p(model),
                                                 parameters))
        base.ggml_threadpool_params_default.restype = Pool
        pool = base.ggml_threadpool_params_default(threads)
        cpu = self.cpu_library()
        cpu.ggml_threadpool_new.restype = ctypes.c_void_p
        pool = ctypes.c_void_p(cpu.ggml_threadpool_new(ctypes.byref(pool)))
        self.llama.llama_attach_threadpool(self.context, pool, pool)
        self.llama.llama_set_n_threads(self.context, threads, threads)
        self.greedy = ctypes.c_void_p(self.call("llama_sampler_init_greedy", ctypes.c_void_p))

    @staticmethod
    def set_cache(parameters, cache):
        """f32: keys and values as ours, attention as a plain product. f16: llama.cpp's defaults, its flash attention
        among them. Where the fields are, their defaults tell: rope_scaling, pooling, attention and flash attention are
        -1, and after them the types of keys and values are both 1, F16."""
        fields = list(parameters.first[:64])
        flash = next(i for i in range(3, 64) if fields[i - 3:i + 1] == [0xFFFFFFFF] * 4)
        types = next(i for i in range(flash, 63) if fields[i:i + 2] == [1, 1])
        if cache == "f32":
            parameters.first[flash] = parameters.first[types] = parameters.first[types + 1] = 0

    @staticmethod
    def cpu_library():
        """The one of the libraries for this processor that is loaded now."""
        path = re.search(r"\S*libggml-cpu\S*\.so\S*", pathlib.Path("/proc/self/maps").read_text())
        return ctypes.CDLL(path.group(0))

    def call(self, name, result, *arguments):
        function = getattr(self.llama, name)
        function.restype = result
        return function(*arguments)

    def decode(self, ids):
        """Seconds for the tokens, which follow those before."""
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        batch = self.call("llama_batch_get_one", Batch, tokens, len(ids))
        start = time.perf_counter()
        failed = self.llama.llama_decode(self.context, batch)
        self.llama.llama_synchronize(self.context)
        seconds = time.perf_counter() - start
        if failed:
            raise SystemExit(f"error: llama_decode: {failed}")
        return seconds

    def generate(self, prompt, steps):
        memory = self.call("llama_get_memory", ctypes.c_void_p, self.context)
        self.llama.llama_memory_clear(ctypes.c_void_p(memory), True)
        choose = lambda: self.call("llama_sampler_sample", ctypes.c_int32, self.greedy, self.context, -1)
        first, tokens, seconds = self.decode(prompt), [choose()], 0
        for _ in range(steps):
            seconds += self.decode(tokens[-1:])
            tokens.append(choose())
        return {"prompt": len(prompt) / first, "generation": steps / seconds, "tokens": tokens}


def run_llama(given):
    """In a process of its own: prints its speeds and tokens as JSON."""
    vocab = json.loads((pathlib.Path(given.model) / "config.json").read_text())["vocab_size"]
    prompt = [(i * 7919 + 1) % vocab for i in range(given.prompt)]  # that of bench_generate.cpp
    llama = Llama(given.libraries, given.gguf, given.prompt + given.generate + 1, given.threads, given.cache)
    llama.generate(prompt, 8)  # wakes the threads, and the pages of the file
    print(json.dumps(llama.generate(prompt, given.generate)), flush=True)
    os._exit(0)  # its threads need not be told


def run_ours(given, model, *flags):
    command = [str(pathlib.Path(given.build) / "bench_generate"), str(model), "--threads", str(given.threads), "--prompt",
               str(given.prompt), "--generate", str(given.generate), "--tokens", *flags]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    speed = lambda what: float(re.search(what + r" ([0-9.]+) tok/s", out).group(1))
    tokens = [int(word) for word in re.search(r"^tokens (.*)$", out, re.M).group(1).split()]
    return {"prompt": speed("prompt"), "generation": speed("generation"), "tokens": tokens}


def compare(given, scratch):
    model = pathlib.Path(given.model)
    if not (model / "config.json").exists():
        model = scratch / "model"
        run_ours(given, given.model, "--save", str(model))
    gguf = scratch / "model.gguf"
    write_gguf(model, gguf, given.prompt + given.generate + 1)
    theirs = [sys.executable, "-B", __file__, given.libraries, str(model), "--gguf", str(gguf), "--threads",
              str(given.threads), "--prompt", str(given.prompt), "--generate", str(given.generate), "--cache", given.cache]
    pairs = []
    for pair in range(given.pairs):
        a = run_ours(given, model)
        b = json.loads(subprocess.run(theirs, stdout=subprocess.PIPE, check=True).stdout)
        pairs.append((a, b))
        print(f"pair {pair + 1}/{given.pairs}: ours {a['prompt']:.0f} and {a['generation']:.1f}, "
              f"llama.cpp {b['prompt']:.0f} and {b['generation']:.1f} tok/s", flush=True)
    a, b = (result["tokens"] for result in pairs[0])
    same = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a))
    print(f"{given.model}, {given.threads} threads; of {len(a)} tokens the first {same} are the same")
    for what in ("prompt", "generation"):
        ours, other = (statistics.median(pair[who][what] for pair in pairs) for who in (0, 1))
        ratio = statistics.median(a[what] / b[what] for a, b in pairs)
        print(f"{what}: ours {ours:.1f}, llama.cpp {other:.1f} tok/s; ours over theirs {ratio:.2f} (median of the pairs)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries")
    parser.add_argument("model", nargs="?", default="moe-step")
    for name, default in (("threads", 2), ("pairs", 7), ("prompt", 256), ("generate", 255)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cache", choices=("f32", "f16"), default="f32")
    parser.add_argument("--build", default=os.environ.get("SWITCHYARD_BUILD", "build"))
    parser.add_argument("--gguf", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gguf:
        run_llama(given)
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
