"""The turns of six threads on one core, with a barrier and without."""
from chart import Sheet

LEFT, WIDTH, HEIGHT = 120, 44, 30
sheet = Sheet(680, 190)


def row(top, name, turns, early):
    sheet.text(LEFT - 12, top + 20, name, "end", size=12)
    x = LEFT
    for turn in turns:
        if turn == "|":
            sheet.line([(x + 3, top - 6), (x + 3, top + HEIGHT + 6)], "#222222", 2.5)
            x += 8
            continue
        kind, thread = turn
        color = "#f4a6a0" if turn in early else "#dbe8f7" if kind == "w" else "#ffe3b3"
        sheet.box(x + 2, top, WIDTH - 4, HEIGHT, color)
        sheet.text(x + WIDTH / 2, top + 20, f"{kind}{thread}", size=12)
        x += WIDTH


pairs = [(kind, thread) for thread in range(6) for kind in "wr"]
row(40, "no barrier", pairs, {("r", thread) for thread in range(5)})
row(110, "barrier", [("w", t) for t in range(6)] + ["|"] + [("r", t) for t in range(6)], set())
sheet.text(LEFT, 170, "time, one core", "start", "#555555", 11)
sheet.print()
