"""The weights of six tokens: a row for each query, a column for each key."""
from chart import Sheet, numbers, record

sheet = Sheet(680, 330)
left, top, cell = 190, 50, 44
for i, row in enumerate(record("08-attention")["map"]["value"]):
    sheet.text(left - 12, top + cell * i + 27, f"t{i}", "end")
    sheet.text(left + cell * i + cell / 2, top - 10, f"t{i}")
    for j, weight in enumerate(numbers(row)):
        x, y = left + cell * j, top + cell * i
        shade = [round(255 - weight * (255 - end)) for end in (31, 78, 140)]
        sheet.box(x, y, cell, cell, "#f2f2f2" if j > i else "#{:02x}{:02x}{:02x}".format(*shade))
        if j > i:
            sheet.line([(x, y + cell), (x + cell, y)], "#bbbbbb", 1)
        else:
            sheet.text(x + cell / 2, y + 27, f"{weight:.2f}", color="#ffffff" if weight > 0.45 else "#222222", size=12)
sheet.text(left - 50, top + 3 * cell + 4, "query", "end")
sheet.text(left + 3 * cell, top - 32, "key")
sheet.text(left + 6 * cell + 24, top + 70, "hatched: not yet there", "start", "#555555", 12)
sheet.print()
