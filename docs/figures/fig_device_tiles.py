"""Which tile of the grouped product works on which slots, when the host knows no counts."""
from chart import COLORS, Sheet, record

tiles = record("26-routing-on-the-device")["tiles"]["value"]
token = [int(x) for x in record("13-dispatch")["slot_token"]["value"][0].split()]
expert = [int(x) for x in record("13-dispatch")["slot_expert"]["value"][0].split()]
FILLS = ["#dbe8f7", "#f7e4cf", "#dcefdc", "#f0dcea"]
sheet = Sheet(700, 250)
sheet.text(20, 62, "tile", "start")
sheet.text(20, 192, "slot", "start")
for s, e in enumerate(expert):
    x = 70 + 51 * s
    sheet.box(x, 172, 47, 32, FILLS[e], COLORS[e])
    sheet.text(x + 23.5, 192, f"{s}", size=12)
    sheet.text(x + 23.5, 218, f"token {token[s]}", "middle", "#555555", 10)
for number, e, first, last in tiles:
    x = 70 + 77 * number
    used = first != "nothing"
    sheet.box(x, 40, 70, 34, FILLS[e] if used else "#ffffff", COLORS[e] if used else "#bbbbbb")
    sheet.text(x + 35, 61, f"{number}")
    sheet.text(x + 35, 30, f"expert {e}" if e < 4 else "nobody", "middle", COLORS[e] if used else "#888888", 11)
    for s in range(int(first), int(last) + 1) if used else []:
        sheet.line([(x + 35, 75), (93.5 + 51 * s, 171)], COLORS[e])
    if not used:
        sheet.text(x + 35, 90, "idle", "middle", "#888888", 11)
sheet.text(70, 242, f"{len(tiles)} tiles launched, {sum(t[2] != 'nothing' for t in tiles)} of them with work", "start")
sheet.print()
