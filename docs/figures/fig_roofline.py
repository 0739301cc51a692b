"""The roofline: what the machine can do at most, and where the kernels of a step stand under it.
With the last line of `./run bench --json` in a file, fig_roofline.py FILE draws one's own machine."""
import json
import math

from chart import COLORS, Sheet, record

LEFT, TOP, WIDTH, HEIGHT, KEY = 60, 40, 400, 300, 500
entry = record("bench")
report = json.loads(entry["report"]["value"]) if "report" in entry else entry
limits, peak = report["limits"], report["limits"]["fma"]["per_second"] / 1e9
X, Y = (0.05, 200), (1, 2 ** math.ceil(math.log2(1.5 * peak)))


def kernels(profile):
    """{kernel: (FLOP per byte, GFLOP/s)} of those above one percent of the step; rates are multiples of the yardstick
    beside them, in its units."""
    sums = {}
    for row in profile["kernels"]:
        if row["flops"]:
            parts = row["flops"], row["bytes"], row["flops"] / row["of_yardstick"], row["of_step"]
            sums[row["kernel"]] = [a + b for a, b in zip(sums.get(row["kernel"], [0] * 4), parts)]
    return {name: (flops / bytes_, peak * flops / time) for name, (flops, bytes_, time, share) in sums.items()
            if share >= 0.01}


def place(x, y):
    along = lambda value, ends: math.log(min(max(value, ends[0]), ends[1]) / ends[0]) / math.log(ends[1] / ends[0])
    return LEFT + WIDTH * along(x, X), TOP + HEIGHT * (1 - along(y, Y))


sheet = Sheet(720, TOP + HEIGHT + 56)
for x in (0.1, 1, 10, 100):
    sheet.line([place(x, Y[0]), place(x, Y[1])], "#dddddd", 1)
    sheet.text(place(x, Y[0])[0], TOP + HEIGHT + 18, f"{x:g}", size=11)
for y in (1, 10, 100, 1000):
    if Y[0] <= y <= Y[1]:
        sheet.line([place(X[0], y), place(X[1], y)], "#dddddd", 1)
        sheet.text(LEFT - 8, place(X[0], y)[1] + 4, f"{y:g}", "end", size=11)
sheet.text(LEFT + WIDTH / 2, TOP + HEIGHT + 40, "operations for each byte")
sheet.text(LEFT - 40, TOP - 14, f"GFLOP/s, {report['threads']} threads", "start")

sheet.line([place(X[0], peak), place(X[1], peak)], "#222222", 2)
sheet.text(LEFT + 4, place(1, peak)[1] - 6, f"multiply-adds: {peak:.0f} GFLOP/s", "start", size=11)
for level in limits["levels"]:
    rate = level["triad"]["of_yardstick"] * peak  # GB/s
    low, high = max(X[0], Y[0] / rate), peak / rate
    if high > X[0]:
        sheet.line([place(low, low * rate), place(high, peak)], "#888888", 1.5)
    sheet.text(KEY, TOP + 14 + 18 * limits["levels"].index(level),
               f"{level['name']}: {rate:.0f} GB/s", "start", "#555555", 12)
    x = max(low, 0.07)
    sheet.text(place(x, x * rate)[0] + 4, place(x, x * rate)[1] + 12, level["name"], "start", "#555555", 11)

number, labels, y_key = 0, [], TOP + 30 + 18 * len(limits["levels"])
for title, color, profile in (("training step", COLORS[0], report["training"]),
                              ("decode step", COLORS[1], report.get("decode"))):
    if not profile:
        continue
    sheet.text(KEY, y_key, title, "start", color)
    y_key += 17
    for kernel, (intensity, rate) in sorted(kernels(profile).items(), key=lambda item: -item[1][1]):
        number += 1
        x, y = place(intensity, rate)
        sheet.box(x - 3, y - 3, 6, 6, color, color)
        at = [x + 6, y + 4]
        while any(abs(at[0] - other[0]) < 15 and abs(at[1] - other[1]) < 11 for other in labels):
            at[1] += 11
        labels.append(at)
        sheet.text(*at, number, "start", color, 11)
        sheet.text(KEY, y_key, f"{number}  {kernel}", "start", size=11)
        y_key += 15
    y_key += 8
sheet.print()
