"""The error of one cross-entropy, written in three ways, against the size of the logits."""
import json
import math
from pathlib import Path

record = json.loads((Path(__file__).parent.parent / "record/06-layers-and-losses.json").read_text())
rows = record["large"]["value"]
fails = record["formula_fails"]["value"]

LEFT, RIGHT, TOP, BOTTOM, LEAST = 70, 650, 40, 250, 1e-6  # six digits are printed; smaller errors count as this


def x_at(offset):
    return LEFT + 30 + (math.log10(max(offset, 1)) / 6) * (RIGHT - LEFT - 60)


def y_at(error):
    return BOTTOM - (math.log10(max(error, LEAST)) + 6) / 4 * (BOTTOM - TOP)


out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 320" font-family="sans-serif" font-size="12">',
       '<rect width="680" height="320" fill="#ffffff"/>',
       f'<text x="{LEFT}" y="22" fill="#222222" font-size="13">error of the loss</text>']
for power in range(-6, -1):
    y = y_at(10.0 ** power)
    label = f"10<tspan dy='-5' font-size='9'>\u2212{-power}</tspan>"
    out += [f'<path d="M{LEFT} {y:.1f} H{RIGHT}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#222222">{label}</text>']
for offset, *_ in rows:
    label = f"{offset:,}".replace(",", "\u2009")
    if offset != 50:
        out.append(f'<text x="{x_at(offset):.1f}" y="{BOTTOM + 20}" text-anchor="middle" fill="#222222">{label}</text>')
out.append(f'<text x="{(LEFT + RIGHT) // 2}" y="{BOTTOM + 42}" text-anchor="middle" fill="#222222">'
           "size of the logits</text>")
for column, color, said, lift in ((1, "#b35c00", "shifted, then lse \u2212 x", -10), (2, "#1f4e8c", "ours", -10)):
    points = [(x_at(row[0]), y_at(abs(row[column] - row[3]))) for row in rows]
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    out.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in points]
    x, y = points[-1]
    out.append(f'<text x="{x:.1f}" y="{y + lift:.1f}" text-anchor="end" fill="{color}" font-size="13">{said}</text>')
edge = x_at(min(fails))
out += [f'<path d="M{edge:.1f} {TOP} V{BOTTOM}" stroke="#a01c1c" stroke-width="1.5" stroke-dasharray="5 4"/>',
        f'<text x="{edge - 8:.1f}" y="{TOP + 70}" text-anchor="end" fill="#a01c1c" font-size="13">from here on</text>',
        f'<text x="{edge - 8:.1f}" y="{TOP + 88}" text-anchor="end" fill="#a01c1c" font-size="13">'
        "the formula gives NaN</text>", "</svg>"]
print("\n".join(out))
