"""Each expert's share of the proposals and its mean probability, for the six tokens."""
from chart import COLORS, Sheet, numbers, record

entries = record("12-balance")
shares, means = numbers(entries["f"]["value"]), numbers(entries["P"]["value"])
sheet = Sheet(680, 300)
place = lambda value: 240 - 440 * value
for e in range(4):
    x = 90 + 120 * e
    for i, (value, color) in enumerate([(shares[e], COLORS[0]), (means[e], COLORS[1])]):
        sheet.box(x + 40 * i, place(value), 36, 240 - place(value), color, color)
        sheet.text(x + 40 * i + 18, place(value) - 6, f"{value:.3f}", "middle", color, 11)
    sheet.text(x + 38, 262, f"expert {e}")
sheet.line([(70, 240), (560, 240)])
sheet.line([(70, place(0.25)), (560, place(0.25))], "#555555", 1, "5 4")
sheet.text(568, place(0.25) + 4, "even: 1/4", "start", "#555555")
sheet.text(400, 40, "f, share of the proposals", "start", COLORS[0])
sheet.text(400, 62, "P, mean probability", "start", COLORS[1])
sheet.print()
