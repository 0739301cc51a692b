"""Tokens that go through the model, by length of the text, with and without a cache."""
from chart import COLORS, Sheet, record

entries = record("17-generation")
lengths = [16, 32, 64, 128]
sheet = Sheet(680, 310)
place = sheet.axes([0, 32, 64, 96, 128], [0, 2000, 4000, 6000, 8000], "tokens of the text", "tokens through the model",
                   left=80)
for color, key, said in ((COLORS[1], "without", "without a cache"), (COLORS[0], "with", "with a cache")):
    points = [place(0, 0)] + [place(n, entries[f"{key}_{n}"]["value"]) for n in lengths]
    sheet.line(points, color, 2.2)
    for x, y in points[1:]:
        sheet.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>')
    sheet.text(points[-1][0] + 14, points[-1][1] + 4, said, "start", color)
sheet.print()
