"""Share of tokens whose first choice is right, by step, for four routers."""
from chart import COLORS, Sheet, numbers, record

entries = record("11-routing")
curves = [("k = 2, gates sum to one", "two_renormalised"), ("k = 2, plain gates", "two_plain"),
          ("k = 1, plain (Switch)", "one_plain"), ("k = 1, gate always 1", "one_constant")]
sheet = Sheet(680, 310)
place = sheet.axes([0, 40, 80, 120, 160, 200], [0, 25, 50, 75, 100], "step", "right first choices, percent")
for i, (label, key) in enumerate(curves):
    values = numbers(entries[key]["value"])
    sheet.line([place(20 * n, y) for n, y in enumerate(values)], COLORS[i], 2.2, "5 4" if i == 0 else "")
    y = {0: 40, 1: 62, 2: 84, 3: place(0, values[-1])[1] + 4}[i]
    sheet.text(505, y, label, "start", COLORS[i], 12)
sheet.print()
