"""The sectors that a warp's load touches, and which of their floats a lane asked for, in four patterns."""
from chart import COLORS, Sheet, record

CELL, HEIGHT, LEFT, FLOATS = 2.4, 26, 20, 8
wanted = ["neighbours", "shifted by one", "every second", "a column of (T, 32)"]
patterns = {name: rest for name, *rest in record("04-first-kernels")["patterns"]["value"]}

sheet = Sheet(680, 300)
for row, name in enumerate(wanted):
    first, step, width, count = (int(number) for number in patterns[name])
    asked = {first + lane * step + j for lane in range(32) for j in range(width)}
    top = 34 + 66 * row
    sheet.text(LEFT, top - 8, f"{name}: {count} sectors, {32 * count} bytes for {4 * len(asked)}", "start")
    for place, sector in enumerate(sorted({element // FLOATS for element in asked})):
        x = LEFT + place * FLOATS * CELL * 1.04
        for cell in range(FLOATS):
            if sector * FLOATS + cell in asked:
                sheet.box(x + cell * CELL, top, CELL, HEIGHT, COLORS[0], COLORS[0])
        sheet.box(x, top, FLOATS * CELL, HEIGHT, "none")
sheet.text(LEFT, 290, "a box is a sector of 32 bytes, eight floats", "start", "#555555", 11)
sheet.print()
