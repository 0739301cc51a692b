#include "train/page/style.h"

namespace switchyard::page {

// The colours of runs are Okabe and Ito's, of cells a blue-to-red scale: both can be told apart by the colour-blind. A
// dash tells runs apart on paper. Nothing at all (h0) is the page's strongest contrast.
const char* const chart_style = R"css(
:root{--paper:#fcfbf9;--card:#fff;--ink:#1d1f22;--soft:#666a70;--line:#e4e2dd;--grid:#ecebe7;--warn:#9a3412;
--warn-back:#fff4ec;--s0:#0072b2;--s1:#d55e00;--s2:#00875f;--s3:#b5548d;--s4:#a87900;--s5:#3a8fc4;--s6:#6b5b95;--s7:#555;
--h0:#141414;--h1:#2166ac;--h2:#67a9cf;--h3:#d1e5f0;--h4:#efeeea;--h5:#fddbc7;--h6:#ef8a62;--h7:#b2182b;
--t0:#fff;--t1:#fff;--t2:#111;--t3:#111;--t4:#111;--t5:#111;--t6:#111;--t7:#fff}
@media screen and (prefers-color-scheme:dark){:root{--paper:#131518;--card:#1a1d21;--ink:#e8e6e1;--soft:#9aa0a8;
--line:#30343a;--grid:#282c31;--warn:#ffb386;--warn-back:#2b2019;--s0:#56b4e9;--s1:#ff8a3c;--s2:#2fc79a;--s3:#e28fc2;
--s4:#e6b422;--s5:#8fd3ff;--s6:#b7a6e6;--s7:#bbb;
--h0:#fff;--h1:#6db3f2;--h2:#3f7fb5;--h3:#2c4a63;--h4:#2a2e33;--h5:#5c3d31;--h6:#b9603c;--h7:#ff9a73;
--t0:#111;--t1:#111;--t2:#fff;--t3:#eee;--t4:#ddd;--t5:#eee;--t6:#fff;--t7:#111}}
.chart{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.chart .title{font-size:14px;font-weight:600;fill:var(--ink)}
.chart .axis-x,.chart .axis-y{font-size:11.5px}
.chart .tick,.chart .cell{font-variant-numeric:tabular-nums}
.chart .note{font-size:10.5px;font-style:italic;paint-order:stroke;stroke:var(--card);stroke-width:3px}
.chart .grid{stroke:var(--grid);fill:none}
.chart .base{stroke:var(--soft);fill:none}
.curve{fill:none;stroke-width:1.7;stroke-linejoin:round}
.band{stroke:none;opacity:.16}
.reference{fill:none;stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 3}
.s0 .curve,.s0 .reference{stroke:var(--s0)}.s0 .band,.s0 circle{fill:var(--s0)}
.s1 .curve,.s1 .reference{stroke:var(--s1)}.s1 .band,.s1 circle{fill:var(--s1)}.s1 .curve{stroke-dasharray:7 3}
.s2 .curve,.s2 .reference{stroke:var(--s2)}.s2 .band,.s2 circle{fill:var(--s2)}.s2 .curve{stroke-dasharray:2.5 2.5}
.s3 .curve,.s3 .reference{stroke:var(--s3)}.s3 .band,.s3 circle{fill:var(--s3)}.s3 .curve{stroke-dasharray:9 3 2 3}
.s4 .curve,.s4 .reference{stroke:var(--s4)}.s4 .band,.s4 circle{fill:var(--s4)}.s4 .curve{stroke-dasharray:12 4}
.s5 .curve,.s5 .reference{stroke:var(--s5)}.s5 .band,.s5 circle{fill:var(--s5)}.s5 .curve{stroke-dasharray:4 2 1 2}
.s6 .curve,.s6 .reference{stroke:var(--s6)}.s6 .band,.s6 circle{fill:var(--s6)}.s6 .curve{stroke-dasharray:1 3}
.s7 .curve,.s7 .reference{stroke:var(--s7)}.s7 .band,.s7 circle{fill:var(--s7)}.s7 .curve{stroke-dasharray:9 2 2 2 2 2}
.h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}.h4{fill:var(--h4)}.h5{fill:var(--h5)}
.h6{fill:var(--h6)}.h7{fill:var(--h7)}
.t0{fill:var(--t0)}.t1{fill:var(--t1)}.t2{fill:var(--t2)}.t3{fill:var(--t3)}.t4{fill:var(--t4)}.t5{fill:var(--t5)}
.t6{fill:var(--t6)}.t7{fill:var(--t7)}
.cursor{stroke:var(--ink);stroke-width:1;opacity:.5;fill:none;pointer-events:none}
)css";

const char* const page_style = R"css(
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 16px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .2em;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.6em 0 .3em;padding-top:.9em;border-top:1px solid var(--line);letter-spacing:-.01em}
h3{font-size:1rem;margin:1.4em 0 .5em;overflow-wrap:anywhere}
p{margin:.3em 0 .8em;max-width:74ch}
.lead,.note-line{color:var(--soft)}
.cards{display:grid;gap:14px;margin:1.2em 0}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;min-width:0}
.card h3{margin:0 0 .3em}
.card p{margin:0 0 .5em}
.card ul{margin:.4em 0 0;padding:8px 12px 8px 28px;background:var(--warn-back);color:var(--warn);border-radius:6px}
.card .well{color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:14px;margin:.8em 0}
.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr))}
figure{margin:0;position:relative}
figure>svg{display:block;width:100%;height:auto;touch-action:pan-y}
.swatch{display:inline-block;width:22px;height:0;border-top:3px solid;vertical-align:middle;margin-right:7px}
.swatch.s0{border-color:var(--s0)}.swatch.s1{border-color:var(--s1);border-top-style:dashed}
.swatch.s2{border-color:var(--s2);border-top-style:dotted}.swatch.s3{border-color:var(--s3);border-top-style:dashed}
.swatch.s4{border-color:var(--s4);border-top-style:dashed}.swatch.s5{border-color:var(--s5);border-top-style:dotted}
.swatch.s6{border-color:var(--s6);border-top-style:dotted}.swatch.s7{border-color:var(--s7);border-top-style:dashed}
.choice{position:absolute;opacity:0;width:1px;height:1px}
.choice+label{display:inline-block;padding:5px 13px;border:1px solid var(--line);margin:0 -1px 4px 0;cursor:pointer;
font-size:.9rem;background:var(--card);color:var(--soft)}
.choice:checked+label{background:var(--ink);color:var(--paper);border-color:var(--ink)}
.choice:focus-visible+label{outline:2px solid var(--s0);outline-offset:2px}
.by{display:none}
#by-steps:checked~.grid .by-steps,#by-tokens:checked~.grid .by-tokens,#by-flops:checked~.grid .by-flops,
#by-seconds:checked~.grid .by-seconds{display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 16px 5px 0;border-bottom:1px solid var(--line);font-weight:400;vertical-align:top}
thead th{font-weight:600;white-space:nowrap}
tbody th{color:var(--soft);min-width:8em}
.differs th,.differs td{color:var(--ink);font-weight:600}
.levels{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:.82rem;color:var(--soft);margin:.3em 0 .8em}
.levels i{display:inline-block;width:13px;height:13px;border-radius:2px;margin-right:5px;vertical-align:-2px}
.sample,.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2em 0 1em;max-width:none}
.sample{border-left:3px solid var(--line);padding-left:12px;font-size:.94rem}
.text{line-height:1.8;font-size:.94rem}.texts h3{margin:.4em 0 .2em}
.token{border-radius:3px;padding:1px 0;cursor:default}
.experts{display:flex;flex-wrap:wrap;gap:4px;font-size:.8rem;margin:.3em 0}
.experts span{padding:1px 8px;border-radius:3px}
details{margin:.5em 0}summary{cursor:pointer;font-weight:600}
footer{margin-top:3em;color:var(--soft);font-size:.85rem;border-top:1px solid var(--line);padding-top:1em}
#tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--paper);padding:6px 10px;border-radius:6px;
font-size:.8rem;line-height:1.45;white-space:pre;font-variant-numeric:tabular-nums;max-width:96vw;overflow:hidden}
#tip[hidden]{display:none}
@media screen and (max-width:520px){main{padding:18px 10px 48px}figure{padding:8px 5px}
.chart{font-size:12.5px}.chart .title{font-size:15px}.chart .axis-x,.chart .axis-y{font-size:13px}}
@media print{body{font-size:11pt;background:#fff}main{max-width:none;padding:0}figure,.card{break-inside:avoid}
h2,h3{break-after:avoid}#tip,.choice:not(:checked)+label{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.grid{grid-template-columns:repeat(2,1fr)}.small{grid-template-columns:repeat(4,1fr)}}
)css";

const char* const page_script = R"js(
'use strict';
const tip = document.getElementById('tip');
const units = [[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']];
const short = x => {
  for (const [size, unit] of units) if (Math.abs(x) >= size) return +(x / size).toPrecision(4) + unit;
  return String(+x.toPrecision(4));
};
const hide = () => {
  tip.hidden = true;
  document.querySelectorAll('.cursor').forEach(cursor => cursor.remove());
};
const show = (text, event) => {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const x = event.clientX + 14 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
  const y = event.clientY + 14 + box.height > innerHeight ? event.clientY - 14 - box.height : event.clientY + 14;
  tip.style.left = Math.max(4, x) + 'px';
  tip.style.top = Math.max(4, y) + 'px';
};
const place = (svg, event) => {  // in the chart's own units
  const matrix = svg.getScreenCTM().inverse();
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
};
const nearest = (points, x) => {  // points ascend
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle; else high = middle;
  }
  return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
};
const parsed = new WeakMap();
const curves = svg => {
  if (!parsed.has(svg)) parsed.set(svg, [...svg.querySelectorAll('[data-values]')].map(group => ({
    name: group.dataset.name,
    points: group.dataset.values.split(' ').filter(Boolean).map(point => point.split(',').map(Number)),
  })).filter(curve => curve.points.length));
  return parsed.get(svg);
};
const readLines = (svg, event) => {
  const [left, top, width, height] = svg.dataset.plot.split(' ').map(Number);
  const at = place(svg, event), end = Number(svg.dataset.x);
  const share = (at.x - left) / width;
  if (share < -0.02 || share > 1.02) return hide();
  const near = curves(svg).map(curve => [curve.name, nearest(curve.points, share * end)]);
  if (!near.length) return hide();
  const x = near.map(([, point]) => point[0]).reduce((a, b) => Math.abs(a - share * end) <= Math.abs(b - share * end) ? a : b);
  hide();
  const cursor = document.createElementNS(svg.namespaceURI, 'path');
  cursor.setAttribute('class', 'cursor');
  cursor.setAttribute('d', `M${left + width * x / end} ${top}v${height}`);
  svg.append(cursor);
  show(`${svg.dataset.xTitle}: ${short(x)}\n` + near.map(([name, point]) => `${name}: ${short(point[1])}` +
    (point.length > 2 ? `  (${short(point[2])} to ${short(point[3])})` : '') +
    (Math.abs(point[0] - x) > end * 0.02 ? `  at ${short(point[0])}` : '')).join('\n'), event);
};
const readCells = (svg, event) => {
  const [left, top, width, height] = svg.dataset.plot.split(' ').map(Number);
  const rows = svg.dataset.cells.split(' '), columns = svg.dataset.columns.split(' ').map(Number);
  const at = place(svg, event);
  const row = Math.floor((at.y - top) / height * rows.length);
  const column = Math.floor((at.x - left) / width * columns.length);
  if (row < 0 || row >= rows.length || column < 0 || column >= columns.length) return hide();
  const times = parseInt(rows[row].slice(2 * column, 2 * column + 2), 36) / 100;
  show(`expert ${row}, ${svg.dataset.xTitle}: ${short(columns[column])}\n` +
    (times ? `${times >= 12.95 ? 'over 12.9' : times} times the even part` : 'no token at all'), event);
};
const readToken = (token, event) => {
  const layers = token.dataset.routes.split('|');
  show(layers.map((layer, i) => `layer ${i}: ` + (layer ?
    layer.split(',').map(visit => 'expert ' + visit.replace(' ', ' × ')).join(', ') : 'no expert')).join('\n'), event);
};
const read = event => {
  const token = event.target.closest?.('.token'), cell = event.target.closest?.('[data-tip]');
  const svg = event.target.closest?.('svg.chart');
  if (token) readToken(token, event);
  else if (cell) show(cell.dataset.tip, event);
  else if (svg?.dataset.cells) readCells(svg, event);
  else if (svg?.dataset.plot) readLines(svg, event);
  else hide();
};
document.addEventListener('pointermove', read);
document.addEventListener('pointerdown', read);
document.addEventListener('scroll', hide, {passive: true});
document.documentElement.addEventListener('pointerleave', hide);
document.addEventListener('change', event => {
  const layer = event.target.dataset?.layer;
  if (layer === undefined) return;
  for (const token of event.target.parentNode.querySelectorAll('.token')) {
    const first = token.dataset.routes.split('|')[layer].split(' ')[0];
    token.className = 'token' + (first ? ' e' + first : '');
  }
});
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(details => { details.open = true; }));
)js";

}  // namespace switchyard::page
