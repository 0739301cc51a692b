"""Which two experts each of the six tokens proposes."""
from chart import COLORS, Sheet, record

choices = record("11-routing")["choices"]["value"][:6]
sheet = Sheet(680, 300)
for t in range(6):
    sheet.box(60, 20 + 45 * t, 90, 30, "#dbe8f7")
    sheet.text(105, 40 + 45 * t, f"token {t}")
load = [sum(e in pair for pair in choices) for e in range(4)]
for e in range(4):
    sheet.box(430, 30 + 65 * e, 90, 40, "#ffe3bd" if load[e] else "#f2f2f2")
    sheet.text(475, 55 + 65 * e, f"expert {e}")
    sheet.text(535, 55 + 65 * e, f"{load[e]} proposals", "start", "#555555")
for t, pair in enumerate(choices):
    for rank, e in enumerate(pair):
        sheet.line([(150, 35 + 45 * t), (430, 50 + 65 * e)], COLORS[rank], 3 if rank == 0 else 1.2)
sheet.print()
