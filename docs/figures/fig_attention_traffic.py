"""Operations that each kernel of attention does with a byte of keys and values, and what a device needs to be busy."""
from math import log10

from chart import COLORS, Sheet, record

entries = record("25-attention-without-the-matrix")
rows = entries["traffic"]["value"]
NAMES = ["plain, f32", "tiled, f32", "tensor cores, bf16", "one new token, bf16", "the same, 4 heads share a key"]
sheet = Sheet(700, 290)
left, width, low, high = 220, 440, log10(0.25), log10(512)
place = lambda x: left + width * (log10(x) - low) / (high - low)
for x in [0.25, 1, 4, 16, 64, 256]:
    sheet.line([(place(x), 40), (place(x), 235)], "#dddddd", 1)
    sheet.text(place(x), 252, f"{x:g}", size=11)
for i, (name, value) in enumerate(rows):
    y = 50 + 38 * i
    sheet.text(left - 10, y + 17, NAMES[i], "end", size=12)
    sheet.box(left, y, place(value) - left, 24, "#dbe8f7" if "f32" in NAMES[i] else "#f7e4cf",
              COLORS[0] if "f32" in NAMES[i] else COLORS[1])
    sheet.text(place(value) + 6, y + 17, f"{value:g}", "start", size=12)
for key, color, name in [("f32_tflops", COLORS[0], "f32"), ("bf16_tflops", COLORS[1], "bf16")]:
    need = entries[key]["value"] / entries["memory"]["value"]
    sheet.line([(place(need), 40), (place(need), 235)], color, 2, "6 4")
    sheet.text(place(need), 30, f"H100, {name}: {need:.0f}", color=color, size=12)
sheet.text(left + width / 2, 276, "operations for each byte read (each step is four times the last)", size=12)
sheet.print()
