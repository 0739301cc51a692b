"""The last three steps of a warp's sum on its first eight lanes: who adds whose number, and what they hold."""
from chart import COLORS, Sheet, record

steps = {step: numbers.split() for step, numbers in record("23-reductions-and-warps")["lanes"]["value"]}
LEFT, TOP, WIDTH, HEIGHT, DOWN = 150, 40, 60, 26, 78

sheet = Sheet(680, 330)
center = lambda lane: LEFT + lane * WIDTH + WIDTH / 2
for lane in range(8):
    sheet.text(center(lane), TOP - 12, f"lane {lane}", size=11)
for row, step in enumerate([2, 3, 4, 5]):
    top = TOP + row * DOWN
    sheet.text(LEFT - 14, top + 17, f"after step {step}", "end")
    for lane in range(8):
        same = steps[step].index(steps[step][lane])
        sheet.box(LEFT + lane * WIDTH + 6, top, WIDTH - 12, HEIGHT, "#ffd28a" if same == 0 else "#dbe8f7")
        sheet.text(center(lane), top + 17, steps[step][lane].replace("-", "\u2212"), size=12)
    if step < 5:
        other = 16 >> step
        sheet.text(LEFT - 14, top + 56, f"lane ^ {other}", "end", "#555555", 11)
        for lane in range(8):
            for source, color in ((lane, "#999999"), (lane ^ other, COLORS[1])):
                sheet.line([(center(source), top + HEIGHT), (center(lane), top + DOWN)], color, 1.2)
sheet.print()
