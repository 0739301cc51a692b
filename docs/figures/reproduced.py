"""What the figures of ./run reproduce share: each variant's loss by FLOPs and by the clock, side by side."""
import math
import re

from chart import COLORS, Sheet, numbers, record

PALETTE = [*COLORS, "#c2185b", "#00838f", "#9e9d24"]
PANEL, GAP, TOP, HEIGHT = 250, 75, 34, 210


def slug(label):
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def ticks(low, high, about=5):
    """Round numbers from below `low` to above `high`."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / about))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


class Figure:
    """Panels in a row; a legend below them."""

    def __init__(self, name, panels):
        self.entries = record(f"reproduce-{name}")
        self.variants = self.entries["variants"]["value"]
        rows = (len(self.variants) + 2) // 3
        width = 60 + panels * (PANEL + GAP)
        self.sheet, self.left = Sheet(width, TOP + HEIGHT + 62 + 20 * rows), 62
        for i, variant in enumerate(self.variants):
            x, y = 62 + (i % 3) * (width - 80) / 3, TOP + HEIGHT + 66 + 20 * (i // 3)
            self.sheet.line([(x, y - 4), (x + 20, y - 4)], self.color(variant), 2.4)
            self.sheet.text(x + 26, y, variant, "start", size=12)

    def color(self, variant):
        return PALETTE[self.variants.index(variant) % len(PALETTE)]

    def value(self, key, variant):
        entry = self.entries.get(f"{slug(key)}_{slug(variant)}")
        return entry and entry["value"]

    def curve(self, variant, key):
        entry = self.entries.get(f"curve-{slug(key)}_{slug(variant)}")
        return numbers(entry["value"]) if entry else []

    def panel(self, lines, x_title, y_title, low=None, high=None, dots=False, x_ticks=None, dashed=()):
        """lines: {variant: [(x, y), …]}, and `dashed` likewise; what is above `high` is left out."""
        lines = {v: [(x, y) for x, y in points if high is None or y <= high] for v, points in lines.items()}
        lines = {v: points for v, points in lines.items() if points}
        xs = [x for points in lines.values() for x, y in points]
        ys = [y for points in lines.values() for x, y in points]
        place = self.sheet.axes(x_ticks or ticks(0, max(xs)), ticks(min(ys) if low is None else low, max(ys)), x_title,
                                y_title, self.left, TOP, PANEL, HEIGHT)
        for variant, points in lines.items():
            spots = [place(x, y) for x, y in points]
            if not dots:
                self.sheet.line(spots, self.color(variant), 2)
            for x, y in spots if dots else []:
                self.sheet.box(x - 4, y - 4, 8, 8, self.color(variant), self.color(variant))
        for variant in dashed:
            self.sheet.line([place(x, y) for x, y in dashed[variant]], self.color(variant), 1.2, "4 4")
        self.left += PANEL + GAP

    def losses(self, variants=None, skip=0.15, seconds=True):
        """Panels of the validation loss by what it cost, in operations and in seconds; the first drop is cut off."""
        chosen = [v for v in variants or self.variants if self.curve(v, "loss")]
        start = [self.curve(v, "loss")[int(skip * len(self.curve(v, "loss")))] for v in chosen]
        axes = [("flops", 1e12, "TFLOPs of training"), ("seconds", 1, "seconds of training")]
        for axis, scale, title in axes if seconds else axes[:1]:
            lines = {v: [(x / scale, y) for x, y in zip(self.curve(v, axis), self.curve(v, "loss"))] for v in chosen}
            self.panel(lines, title, "validation loss, nats per token", high=max(start))

    def by_step(self, key, y_title, low=None, high=None):
        """A panel of what each training step says, over the run."""
        lines = {}
        for variant in self.variants:
            values = self.curve(variant, f"each step: {key}")
            if values:
                lines[variant] = [((i + 0.5) * 100 / len(values), y) for i, y in enumerate(values)]
        self.panel(lines, "% of the steps", y_title, low, high)

    def print(self):
        self.sheet.print()
