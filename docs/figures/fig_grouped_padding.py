"""Rows after padding, as a multiple of the rows that are needed, by skew, for 8 and 64 experts."""
from chart import COLORS, Sheet, record

rows = record("14-grouped-gemm")["rows"]["value"]
sheet = Sheet(680, 310)
place = sheet.axes([0, 0.5, 1, 1.5, 2], [1, 2, 3, 4, 5], "skew of the logits", "padded rows over rows")
for i, experts in enumerate([8, 64]):
    points = [place(skew, ratio) for e, skew, ratio in rows if e == experts]
    sheet.line(points, COLORS[i], 2.2)
    for x, y in points:
        sheet.box(x - 3, y - 3, 6, 6, COLORS[i], COLORS[i])
    sheet.text(500, points[-1][1] + 4, f"{experts} experts", "start", COLORS[i], 12)
sheet.print()
