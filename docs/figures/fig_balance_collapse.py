"""The busiest expert's load over the mean, by step, for four coefficients of the balance loss."""
from chart import COLORS, Sheet, numbers, record

entries = record("12-balance")
sheet = Sheet(680, 310)
place = sheet.axes([0, 40, 80, 120, 160, 200], [1, 2, 3, 4, 5, 6, 7], "step", "busiest load over mean load")
for i, coefficient in enumerate(["none", "0.01", "0.1", "1"]):
    values = numbers(entries[f"load_{coefficient}"]["value"])
    sheet.line([place(20 * n, y) for n, y in enumerate(values)], COLORS[i], 2.2)
    label = "no loss" if coefficient == "none" else f"coefficient {coefficient}"
    sheet.text(500, place(0, values[-1])[1] + 4, label, "start", COLORS[i], 12)
sheet.line([place(0, 1), place(200, 1)], "#555555", 1, "5 4")
sheet.print()
