"""The rows that each expert works on, and what padding to the busiest would add."""
from chart import COLORS, Sheet, record

entries = record("13-dispatch")
token = [int(x) for x in entries["slot_token"]["value"][0].split()]
expert = [int(x) for x in entries["slot_expert"]["value"][0].split()]
most = max(expert.count(e) for e in range(4))
sheet = Sheet(680, 240)
for e in range(4):
    x = 60 + 150 * e
    mine = [t for t, owner in zip(token, expert) if owner == e]
    sheet.text(x + 50, 24, f"expert {e}")
    for i in range(most):
        y = 36 + 30 * i
        if i < len(mine):
            sheet.box(x, y, 100, 26, "#dbe8f7", COLORS[0])
            sheet.text(x + 50, y + 17, f"token {mine[i]}", size=12)
        else:
            sheet.box(x, y, 100, 26, "#ffffff", "#bbbbbb")
    sheet.text(x + 50, 36 + 30 * most + 20, f"{len(mine)} rows", "middle", "#555555", 12)
sheet.text(60, 232, f"grouped: {len(token)} rows; padded: {4 * most} rows, {4 * most / len(token):.2f} times as many",
           "start")
sheet.print()
