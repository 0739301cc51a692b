"""The product of the six tokens: what one thread, a small tile and one tile for all of C read of A and B."""
from chart import COLORS, Sheet, record

entries = record("05-gemm-ladder")
M, N, K, SIZE = 6, 4, 4, 19
sheet = Sheet(680, 300)


def matrix(x, y, rows, cols, inside):
    for i in range(rows):
        for j in range(cols):
            chosen = inside(i, j)
            sheet.box(x + SIZE * j, y + SIZE * i, SIZE, SIZE, "#dbe8f7" if chosen else "#ffffff",
                      COLORS[0] if chosen else "#bbbbbb")


panels = [("one element a thread", (2, 3), (1, 2), "element"), ("tiles of 2 x 2", (2, 4), (0, 2), "two"),
          ("one tile", (0, 6), (0, 4), "sixteen")]
for at, (title, rows, cols, key) in enumerate(panels):
    left, top = 20 + 225 * at, 64
    a, b, c = (left, top + 4 * SIZE + 22), (left + 4 * SIZE + 22, top), (left + 4 * SIZE + 22, top + 4 * SIZE + 22)
    across, down = range(*cols), range(*rows)
    sheet.text(left + 87, 24, title)
    sheet.text(left + 60, top + 40, "B", "end", "#555555")
    sheet.text(left + 38, top + 4 * SIZE + 14, "A", "middle", "#555555")
    matrix(*a, M, K, lambda i, j: i in down)
    matrix(*b, K, N, lambda i, j: j in across)
    matrix(*c, M, N, lambda i, j: i in down and j in across)
    tile, reads = len(down) * len(across), K * (len(down) + len(across))
    sheet.text(left + 87, 46, f"{reads} reads for {tile} element{'s' * (tile > 1)}", "middle", COLORS[0], 12)
    sheet.text(left + 87, top + 10 * SIZE + 40, f"all of C: {entries[key]['value']} reads", "middle", "#222222", 12)
sheet.print()
