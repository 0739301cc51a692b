"""Plots of a page of ./run report as pictures by themselves.

  report_plot.py PAGE TITLE…   prints the charts with these titles, a line each, in the page's colours for paper

cut() takes them out of a page; draw() puts those of a record side by side.
"""
import re
import sys
from pathlib import Path

from chart import record

WIDTH, GAP = 480, 16  # of a plot, and between two


def paper_style(page):
    """The page's style of charts, with the colours for light put in."""
    style = re.search(r'<style id="chart-style">(.*?)</style>', page, re.S)[1]
    style = re.sub(r"@media[^{]*\{:root\{.*?\}\}", "", style, flags=re.S)
    colours = dict(re.findall(r"(--\w[\w-]*):([^;}]+)", style))
    style = re.sub(r":root\{.*?\}", "", style, flags=re.S)
    return re.sub(r"var\((--[\w-]+)\)", lambda name: colours[name[1]], style).replace("\n", "")


def cut(page, title):
    """The first chart with that title, without what only the page's script reads."""
    for svg in re.findall(r'<figure[^>]*>(<svg class="chart".*?)</figure>', page, re.S):
        if f'class="title" text-anchor="start">{title}<' in svg or f'class="title">{title}<' in svg:
            return re.sub(r' data-[\w-]+="[^"]*"', "", svg).replace("\n", " ")
    raise SystemExit(f"{title}: no such chart")


def draw(key, columns, chapter="35-reading-a-run"):
    """Prints the charts of a record's entry as one picture."""
    style, *charts = record(chapter)[key]["value"].split("\n")
    size = lambda svg: [float(n) for n in re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups()]
    rows = [charts[at:at + columns] for at in range(0, len(charts), columns)]
    heights = [max(size(svg)[1] for svg in row) for row in rows]
    width, height = columns * (WIDTH + GAP) + GAP, sum(heights) + GAP * (len(rows) + 1)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">')
    print(f'<style>{style}</style><rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>')
    top = GAP
    for row, tall in zip(rows, heights):
        for at, svg in enumerate(row):
            across, down = size(svg)
            place = f'x="{GAP + at * (WIDTH + GAP)}" y="{top:.0f}" width="{across:.0f}" height="{down:.0f}"'
            print(svg.replace('<svg class="chart"', f'<svg class="chart" {place}', 1))
        top += tall + GAP
    print("</svg>")


if __name__ == "__main__":
    PAGE = Path(sys.argv[1]).read_text()
    print("\n".join([paper_style(PAGE), *(cut(PAGE, title) for title in sys.argv[2:])]))
