"""One token's graph: values on the way forward, gradients on the way back."""
import json
from pathlib import Path

record = json.loads((Path(__file__).parent.parent / "record/03-autograd.json").read_text())
gradient = dict(record["passes"]["value"])
gradient.update(zip("puqv", record["leaves"]["value"]))
y, loss = record["values"]["value"]

# name, what it is, its value, where it stands
nodes = {"p": ("p, gate", 0.75, 20, 30), "u": ("u, answer", 2, 20, 90), "q": ("q, gate", 0.25, 20, 170),
         "v": ("v, answer", -1, 20, 230), "pu": ("p \u00d7 u", 1.5, 210, 60), "qv": ("q \u00d7 v", -0.25, 210, 200),
         "y": ("y = sum", y, 380, 130), "loss": ("loss = y \u00d7 y", loss, 540, 130)}
edges = [("p", "pu"), ("u", "pu"), ("q", "qv"), ("v", "qv"), ("pu", "y"), ("qv", "y"), ("y", "loss"), ("y", "loss")]
WIDTH, HEIGHT = 112, 44


def minus(number):
    return f"{number:g}".replace("-", "\u2212")


out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 320" font-family="sans-serif" font-size="13">',
       '<rect width="680" height="320" fill="#ffffff"/>']
for at, (source, target) in enumerate(edges):
    x1, y1, x2, y2 = nodes[source][2] + WIDTH, nodes[source][3] + 22, nodes[target][2], nodes[target][3] + 22
    shift = {6: -8, 7: 8}.get(at, 0)  # y is used twice: two lines
    out.append(f'<path d="M{x1} {y1 + shift} L{x2} {y2 + shift}" stroke="#555555" stroke-width="1.5"/>')
for name, (label, value, x, top) in nodes.items():
    fill = "#dbe8f7" if name in "puqv" and len(name) == 1 else "#f2f2f2"
    out += [f'<rect x="{x}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{fill}" stroke="#555555"/>',
            f'<text x="{x + WIDTH // 2}" y="{top + 18}" text-anchor="middle" fill="#222222">{label}</text>',
            f'<text x="{x + 8}" y="{top + 36}" fill="#1f4e8c">{minus(value)}</text>',
            f'<text x="{x + WIDTH - 8}" y="{top + 36}" text-anchor="end" fill="#b35c00">'
            f'{minus(gradient[name])}</text>']
out += ['<text x="20" y="306" fill="#1f4e8c">value: computed from left to right</text>',
        '<text x="660" y="306" text-anchor="end" fill="#b35c00">gradient of the loss: from right to left</text>', "</svg>"]
print("\n".join(out))
