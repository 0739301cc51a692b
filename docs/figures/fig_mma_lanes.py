"""Which lane of a warp holds which elements of a (16 x 16), b (16 x 8) and d (16 x 8), as the program saw it."""
from chart import Sheet, record

SIZE, TOP, SHADES = 16, 62, ["#dbe8f7", "#fbe3cb", "#d9efd9", "#efdcea"]
seen = {row[0]: row[1:] for row in record("24-tensor-cores")["lanes"]["value"]}
sheet = Sheet(680, 390)


def pairs_of_a(lane):  # register, row, column of its first element
    return [(i, lane // 4 + 8 * (i % 2), lane % 4 * 2 + 8 * (i // 2)) for i in range(4)]


def pairs_of_d(lane):
    return [(i, lane // 4 + 8 * i, lane % 4 * 2) for i in range(2)]


for lane, elements in seen.items():
    drawn = [(row, col + more) for _, row, col in pairs_of_a(lane) + pairs_of_d(lane) for more in range(2)]
    assert elements == [f"{row},{col}" for row, col in drawn], f"lane {lane} holds other elements"


def draw(left, pairs, upright, shades):
    for lane in sorted(range(32), key=lambda lane: lane == 5):
        for register, row, col in pairs(lane):
            x, y = (left + SIZE * row, TOP + SIZE * col) if upright else (left + SIZE * col, TOP + SIZE * row)
            width, height = (SIZE, 2 * SIZE) if upright else (2 * SIZE, SIZE)
            sheet.box(x, y, width, height, shades[register], "#222222" if lane == 5 else "#bbbbbb")
            sheet.text(x + width / 2, y + height / 2 + 4, lane, size=10 if lane != 5 else 12)


A, B, D = 40, 350, 530
draw(A, pairs_of_a, False, SHADES)
draw(B, lambda lane: [(i, lane // 4, lane % 4 * 2 + 8 * i) for i in range(2)], True, SHADES[::2])
draw(D, pairs_of_d, False, SHADES)
for left, cols, name in ((A, 16, "a: 16 rows, 16 k's"), (B, 8, "b: 16 k's, 8 columns"), (D, 8, "d: 16 rows, 8 columns")):
    sheet.text(left + SIZE * cols / 2, 44, name)
sheet.text(340, 20, "a number is a lane; a box is one register of it, two elements (in d: two registers)", size=12)
legends = [(A + 65 * i, 342, SHADES[i], f"a[{i}]") for i in range(4)]
legends += [(B + 65 * i, 342, SHADES[2 * i], f"b[{i}]") for i in range(2)]
legends += [(D, 342 + 22 * i, SHADES[i], f"d[{2 * i}], d[{2 * i + 1}]") for i in range(2)]
for x, y, shade, name in legends:
    sheet.box(x, y, 14, 14, shade, "#bbbbbb")
    sheet.text(x + 20, y + 12, name, "start", size=12)
sheet.print()
