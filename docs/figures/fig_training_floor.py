"""How far three runs are above the floor, by step."""
import math

from chart import COLORS, Sheet, numbers, record

left, right, top, bottom = 80, 560, 40, 240
x_at = lambda step: left + (right - left) * step / 180
y_at = lambda nats: top + (bottom - top) * (math.log10(0.5) - math.log10(max(nats, 0.001))) / math.log10(500)
sheet = Sheet(680, 320)
sheet.text(left - 60, 22, "nats a letter above the floor", "start")
for nats in (0.001, 0.01, 0.1, 0.5):
    sheet.line([(left, y_at(nats)), (right, y_at(nats))], "#dddddd", 1)
    sheet.text(left - 8, y_at(nats) + 4, f"{nats:g}", "end", size=11)
for step in range(0, 181, 30):
    sheet.text(x_at(step), bottom + 38, str(step), size=11)
for i, row in enumerate(record("10-training")["near"]["value"]):
    points = [(x_at(30 * n), y_at(nats)) for n, nats in enumerate(numbers(row))]
    sheet.line(points, COLORS[i], 2.2)
    sheet.text(right + 12, top + 22 * i + 14, f"seed {i + 1}", "start", COLORS[i])
sheet.line([(left, bottom + 16), (right, bottom + 16)], "#a01c1c", 2, "6 4")
sheet.text(right + 12, bottom + 20, "the floor: 0", "start", "#a01c1c")
sheet.text((left + right) / 2, bottom + 60, "step")
sheet.print()
