"""The plan of the six tokens: slots by expert in the middle, the tokens that they read and serve at the sides."""
from chart import COLORS, Sheet, record

entries = record("13-dispatch")
token = [int(x) for x in entries["slot_token"]["value"][0].split()]
expert = [int(x) for x in entries["slot_expert"]["value"][0].split()]
sheet = Sheet(680, 380)
slot_y = lambda s: 40 + 24 * s + 10 * expert[s]
token_y = lambda t: 60 + 50 * t
sheet.text(80, 24, "tokens: read by slots")
sheet.text(340, 24, "slots, by expert")
sheet.text(600, 24, "tokens: sums of slots")
for s, t in enumerate(token):
    sheet.line([(115, token_y(t)), (290, slot_y(s))], COLORS[expert[s]], 1.5)
    sheet.line([(390, slot_y(s)), (565, token_y(t))], COLORS[expert[s]], 1.5)
for s, t in enumerate(token):
    sheet.box(290, slot_y(s) - 10, 100, 20, "#ffffff", COLORS[expert[s]])
    sheet.text(340, slot_y(s) + 4, f"slot {s}: expert {expert[s]}", "middle", COLORS[expert[s]], 11)
for t in range(6):
    for x in (45, 565):
        sheet.box(x, token_y(t) - 15, 70, 30, "#f2f2f2")
        sheet.text(x + 35, token_y(t) + 4, f"token {t}")
sheet.print()
