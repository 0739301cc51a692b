"""The ladder of matrix multiplication: each step's share of what the multiply-add units can do."""
import json
from pathlib import Path

record = json.loads((Path(__file__).parent.parent / "record/02-cpu-kernels.json").read_text())
steps = record["ladder"]["value"]

LEFT, WIDTH, TOP, STEP = 210, 420, 44, 36
HEIGHT = TOP + STEP * len(steps) + 40
out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {HEIGHT}" font-family="sans-serif" font-size="13">',
       f'<rect width="680" height="{HEIGHT}" fill="#ffffff"/>',
       '<text x="20" y="24" fill="#222222">512 \u00d7 512 \u00d7 512 in f32 on one core: share of the multiply-add '
       'limit</text>']
for percent in range(0, 101, 25):
    x = LEFT + WIDTH * percent // 100
    out += [f'<path d="M{x} {TOP - 6} V{HEIGHT - 30}" stroke="#dddddd"/>',
            f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="middle" fill="#555555" font-size="11">{percent} %</text>']
for at, (name, share) in enumerate(steps):
    y, width = TOP + at * STEP, max(share, 0.004) * WIDTH
    color = "#1f4e8c" if at + 1 == len(steps) else "#7ea6d8"
    out += [f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end" fill="#222222">{at + 1} {name}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="24" fill="{color}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 17}" fill="#222222">{100 * share:.0f} %</text>']
out.append("</svg>")
print("\n".join(out))
