"""The 24 scores as they lie in memory, the matrix that they are, and the view of two of its rows."""
import json
from pathlib import Path

record = json.loads((Path(__file__).parent.parent / "record/01-tensor.json").read_text())
offsets, pair = record["offsets"]["value"], record["pair_offset"]["value"]
rows = [row.split() for row in record["rows"]["value"]]
first = offsets.index(pair)
chosen = range(first, first + 2)

BOX, LEFT, TOP = 26, 28, 190
out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 300" font-family="sans-serif" font-size="13">',
       '<rect width="680" height="300" fill="#ffffff"/>']


def text(x, y, said, anchor="middle", color="#222222", size=13):
    out.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{color}" font-size="{size}">{said}</text>')


def box(x, y, said, fill):
    out.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{BOX}" fill="{fill}" stroke="#555555"/>')
    text(x + BOX // 2, y + 17, said.replace("-", "\u2212"), size=11)


text(60, 20, "scores (6, 4)", "start")
text(380, 20, "scores.rows(2, 4): (2, 4)", "start")
for t, row in enumerate(rows):
    text(50, 45 + t * 22 + 2, f"token {t}", "end", size=11)
    for e, value in enumerate(row):
        fill = "#ffd28a" if t in chosen else "#dbe8f7"
        out.append(f'<rect x="{60 + e * 40}" y="{30 + t * 22}" width="40" height="22" fill="{fill}" stroke="#555555"/>')
        text(80 + e * 40, 45 + t * 22 + 1, value.replace("-", "\u2212"), size=11)
        if t in chosen:
            y = 30 + (t - first) * 22
            out.append(f'<rect x="{380 + e * 40}" y="{y}" width="40" height="22" fill="#ffd28a" stroke="#555555"/>')
            text(400 + e * 40, y + 15, value.replace("-", "\u2212"), size=11)
text(380, 96, "same storage, another offset and shape", "start", "#555555", 12)
for t, row in enumerate(rows):
    for e, value in enumerate(row):
        box(LEFT + (4 * t + e) * BOX, TOP, value, "#ffd28a" if t in chosen else "#dbe8f7")
    x = LEFT + 4 * t * BOX
    out.append(f'<path d="M{x} {TOP + BOX} V{TOP + BOX + 8}" stroke="#555555"/>')
    text(x, TOP + BOX + 22, str(offsets[t]), size=11)
text(LEFT, TOP - 8, "storage: 24 numbers in a row", "start")
text(LEFT + 24 * BOX, TOP + BOX + 40, "byte at which each row begins", "end", "#555555", 11)
x = LEFT + 4 * first * BOX
out.append(f'<path d="M{x} {TOP + 74} V{TOP + 54}" stroke="#b35c00" stroke-width="2"/>')
text(x, TOP + 88, f"the view begins at byte {pair}", "middle", "#b35c00", 12)
out.append("</svg>")
print("\n".join(out))
