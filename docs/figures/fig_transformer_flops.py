"""Where the arithmetic for one token goes, for three models."""
from chart import COLORS, Sheet, record

names = ["projections", "scores", "router", "experts", "logits"]
colors = {"projections": COLORS[0], "scores": COLORS[1], "experts": COLORS[2], "logits": COLORS[4]}
titles = {"tiny": "tiny, 16 tokens", "mixtral 1k": "Mixtral, 1,024 tokens", "mixtral 32k": "Mixtral, 32,768 tokens"}
sheet = Sheet(680, 230)
left, width = 180, 460
for row, (title, *parts) in enumerate(record("09-transformer")["parts"]["value"]):
    x, y = left, 60 + 52 * row
    sheet.text(left - 12, y + 22, titles[title], "end")
    for name, part in zip(names, parts):
        if name == "router":  # below one percent; left white
            x += width * part / 100
            continue
        sheet.box(x, y, width * part / 100, 34, colors[name], "#ffffff")
        if part >= 5:
            sheet.text(x + width * part / 200, y + 22, f"{part:.0f}", color="#ffffff")
        x += width * part / 100
for i, (name, color) in enumerate(colors.items()):
    sheet.box(left + 112 * i, 22, 14, 14, color, color)
    sheet.text(left + 112 * i + 20, 34, name, "start")
sheet.text(60, 218, "percent of the operations of one token's forward pass; the router's part is below one percent",
           "start", "#555555", 11)
sheet.print()
