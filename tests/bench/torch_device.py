#!/usr/bin/env python3
"""PyTorch's side of the benchmarks on a GPU: the training step of bench_device's model as its users write it, its
attention alone, and its matrix products. The fastest of several ways counts.

  torch_device.py [--dtype bf16|f32] [--batch 16] [--quick]   times a step in every way; the last line is JSON
  torch_device.py --worker …      picks the fastest, then times one sample of steps for each line on standard input
  torch_device.py --kernels …     attention forward and backward, and matrix products"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

WAYS = ["grouped", "grouped compiled", "loop", "loop compiled", "padded", "padded compiled"]
SIZES = dict(vocab=50304, context=1024, layers=12, width=768, heads=12, ffn=2048, experts=8, best=2)
TINY = dict(vocab=64, context=16, layers=2, width=32, heads=2, ffn=32, experts=4, best=2)
grouped_mm = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        weight = self.weight.to(x.dtype)
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, weight.shape, weight, 1e-5).to(x.dtype)  # autocast may have made it f32
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * weight


def turn(x, cos, sin):
    """The rotary embedding of x (B, H, T, D)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    def __init__(self, s, way):
        super().__init__()
        self.heads, self.best, self.experts, self.way = s.heads, s.best, s.experts, way
        self.attention_norm, self.ffn_norm = Norm(s.width), Norm(s.width)
        self.qkv, self.out = nn.Linear(s.width, 3 * s.width, bias=False), nn.Linear(s.width, s.width, bias=False)
        self.router = nn.Linear(s.width, s.experts, bias=False)
        self.gate_up = nn.Parameter(0.02 * torch.randn(s.experts, 2 * s.ffn, s.width))
        self.down = nn.Parameter(0.02 * torch.randn(s.experts, s.width, s.ffn))

    def attend(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(turn(q, cos, sin), turn(k, cos, sin), v, is_causal=True)
        return x + self.out(y.transpose(1, 2).reshape(B, T, C))

    def forward(self, x, cos, sin):
        x = self.attend(x, cos, sin)
        tokens = self.ffn_norm(x).view(-1, x.shape[-1])
        probability = self.router(tokens).float().softmax(-1)
        gate, choice = probability.topk(self.best, -1)
        gate = (gate / gate.sum(-1, keepdim=True)).to(x.dtype)
        flat = choice.flatten()
        order = flat.argsort(stable=True)
        count = (flat[:, None] == torch.arange(self.experts, device=x.device)).sum(0)
        y = getattr(self, self.way)(tokens[order // self.best], count, flat[order])
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel(), device=x.device)  # each proposal's place: no atomics needed
        mixed = (y[back].view(-1, self.best, x.shape[-1]) * gate[..., None]).sum(1)
        balance = self.experts * (count / flat.numel() * probability.mean(0)).sum()
        return x + mixed.view_as(x), balance

    def grouped(self, x, count, _):
        ends = count.cumsum(0).to(torch.int32)
        gate, up = grouped_mm(x, self.gate_up.to(x.dtype).transpose(-2, -1), offs=ends).chunk(2, -1)
        return grouped_mm(F.silu(gate) * up, self.down.to(x.dtype).transpose(-2, -1), offs=ends)

    def loop(self, x, count, _):
        gate_up, down = self.gate_up.to(x.dtype).unbind(0), self.down.to(x.dtype).unbind(0)
        result = []
        for e, part in enumerate(x.split(count.tolist())):
            gate, up = (part @ gate_up[e].t()).chunk(2, -1)
            result.append((F.silu(gate) * up) @ down[e].t())
        return torch.cat(result)

    def padded(self, x, count, expert):
        """One batched product over experts that are all as long as the longest."""
        longest = -(-int(count.max()) // 128) * 128
        place = torch.arange(expert.numel(), device=x.device) - (count.cumsum(0) - count)[expert]
        full = x.new_zeros(self.experts, longest, x.shape[-1]).index_put((expert, place), x)
        gate, up = torch.bmm(full, self.gate_up.to(x.dtype).transpose(1, 2)).chunk(2, -1)
        return torch.bmm(F.silu(gate) * up, self.down.to(x.dtype).transpose(1, 2))[expert, place]


class Model(nn.Module):
    def __init__(self, s, way, dtype):
        super().__init__()
        self.dtype = dtype
        self.embedding = nn.Embedding(s.vocab, s.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(s, way) for _ in range(s.layers))
        self.norm = Norm(s.width)
        D = s.width // s.heads
        angle = torch.outer(torch.arange(s.context).float(), 10000 ** (-torch.arange(0, D, 2).float() / D))
        self.register_buffer("cos", angle.cos().to(dtype))
        self.register_buffer("sin", angle.sin().to(dtype))

    def forward(self, tokens, targets):
        x, balance = self.embedding(tokens).to(self.dtype), 0.0
        for block in self.blocks:
            x, one = block(x, self.cos, self.sin)
            balance = balance + one / len(self.blocks)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), targets.view(-1)) + 0.01 * balance


class Training:
    """f32 weights; in bf16, autocast. Raises what PyTorch raises where a way does not work here."""
    def __init__(self, options, way):
        torch.manual_seed(0)
        kind, _, compiled = way.partition(" ")
        self.options, self.dtype = options, torch.bfloat16 if options.dtype == "bf16" else torch.float32
        if kind == "grouped" and grouped_mm is None:
            raise RuntimeError("this PyTorch has no grouped_mm")
        model = Model(argparse.Namespace(**options.sizes), kind, self.dtype).to(options.device)
        fused = {"fused": True} if options.device == "cuda" else {}
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, **fused)
        self.parameters = list(model.parameters())
        if compiled:
            allow_many_graphs()
        if compiled and kind != "grouped":  # counts go to the host in the middle: only what stands before is compiled
            for block in model.blocks:
                block.attend = torch.compile(block.attend)
        self.model = torch.compile(model) if compiled and kind == "grouped" else model

    def step(self):
        o, s = self.options, self.options.sizes
        tokens, targets = (torch.randint(s["vocab"], (o.batch, s["context"]), device=o.device) for _ in range(2))
        with torch.autocast(o.device, dtype=torch.bfloat16, enabled=o.dtype == "bf16"):
            loss = self.model(tokens, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.detach()

    def sample(self, steps):
        """Milliseconds of a step, waiting for the device once at the end."""
        synchronize(self.options)
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        synchronize(self.options)
        return 1e3 * (time.perf_counter() - start) / steps


def allow_many_graphs():
    """One for each layer, where a few are the default before it gives up and runs the rest as it is."""
    for name in ("cache_size_limit", "recompile_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 256)


def synchronize(options):
    if options.device == "cuda":
        torch.cuda.synchronize()


def survey(options):
    """(way -> milliseconds or why not, the fastest training)."""
    times, best, best_time = {}, None, float("inf")
    for way in options.ways.split(","):
        training = None
        try:
            training = Training(options, way)
            training.sample(3)
            times[way] = statistics.median(training.sample(options.steps) for _ in range(3))
        except Exception as reason:  # whatever this version, this device or this memory cannot do
            times[way] = (str(reason) or repr(reason)).splitlines()[0][:120]
        print(f"torch, {way}: " + (f"{times[way]:.1f} ms" if isinstance(times[way], float) else times[way]), flush=True)
        if isinstance(times[way], float) and times[way] < best_time:
            best, best_time = training, times[way]
        del training
        if options.device == "cuda":
            torch.cuda.empty_cache()
    return times, best


def median_us(options, f, calls=8, rounds=11):
    """Microseconds of a call by the device's clock."""
    if options.device != "cuda":
        start = time.perf_counter()
        f()
        return 1e6 * (time.perf_counter() - start)
    flush, times = torch.zeros(1 << 26, device="cuda"), []
    for _ in range(rounds + 2):
        flush.sum()  # keeps the device busy while the calls are queued
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            f()
        stop.record()
        torch.cuda.synchronize()
        times.append(1e3 * start.elapsed_time(stop) / calls)
    return statistics.median(times[2:])


def attention(options, backend, B, T, H, D):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    q, k, v = (torch.randn(B, T, H, D, device=options.device, dtype=dtype).transpose(1, 2).requires_grad_()
               for _ in range(3))
    with sdpa_kernel(getattr(SDPBackend, backend)):
        forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = forward()
        dy = torch.randn_like(y)
        with torch.no_grad():
            seconds = median_us(options, forward)
        return seconds, median_us(options, lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))


def kernels(options):
    result = {"attention": [], "matmul": []}
    for shape in options.attention:
        B, T, H, D = map(int, shape.split(","))
        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION"):
            try:
                forward, backward = attention(options, backend, B, T, H, D)
            except Exception as reason:
                print(f"{backend}: {str(reason).splitlines()[0][:100]}", flush=True)
                continue
            line = dict(backend=backend, shape=shape, forward_us=forward, backward_us=backward)
            result["attention"].append(line)
            print(f"{backend}, B T H D {shape}: forward {forward:.1f} us, backward {backward:.1f} us", flush=True)
    for n in (4096, 8192) if options.dtype == "bf16" else (4096,):
        n = 64 if options.tiny else n
        dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
        a, b = (torch.rand(n, n, device=options.device, dtype=dtype) - 0.5 for _ in range(2))
        us = median_us(options, lambda: torch.matmul(a, b.t()))
        result["matmul"].append(dict(size=n, us=us, tflop_s=2e-6 * n ** 3 / us))
        print(f"matmul {n}: {us:.1f} us, {2e-6 * n ** 3 / us:.1f} TFLOP/s", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="in a sample")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma between them")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--attention", action="append", default=[], metavar="B,T,H,D")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="for trying this script without a GPU")
    options = parser.parse_args()
    options.sizes = TINY if options.tiny else SIZES
    if options.device == "cuda" and not torch.cuda.is_available():
        print("error: PyTorch sees no GPU", file=sys.stderr)
        return 2
    where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"PyTorch {torch.__version__}, {where}", flush=True)
    if options.kernels:
        print(json.dumps(dict(torch=torch.__version__, **kernels(options))))
        return 0
    times, best = survey(options)
    timed = {way: ms for way, ms in times.items() if isinstance(ms, float)}
    name = min(timed, key=timed.get) if timed else None
    print(json.dumps(dict(torch=torch.__version__, best=name, ms=times)), flush=True)
    if options.worker and best:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(f"step {best.sample(options.steps):.4f} ms", flush=True)
    return 0 if best else 1


if __name__ == "__main__":
    sys.exit(main())
