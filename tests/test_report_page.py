#!/usr/bin/env python3
"""./run report in a real browser: three tiny runs by the real program, their page opened from a file, without a network.
Finds the programs through SWITCHYARD_BUILD (default: build); skips what needs a browser where there is none."""
import base64
import json
import pathlib
import tempfile
import unittest

import browser
from test_cli import Folder, call, last_json, train

VARIANTS = {"even": [], "steep": ["--rate", "0.02"], "tight": ["--capacity", "0.5", "--balance", "0"]}


def make_runs(folder):
    for name, flags in VARIANTS.items():
        trained = train(folder / name, "--steps", 24, "--eval-every", 8, "--eval-tokens", 4000,
                        "--sample-every", 12, *flags)
        assert trained.returncode == 0, trained.stderr
    # What may stand in a sample, and what a kill leaves behind.
    with open(folder / "even/metrics.jsonl", "a", encoding="utf-8") as metrics:
        metrics.write(json.dumps({"step": 24, "sample": "</script><script>throw 1</script><img src=http://x.test/>"}))
        metrics.write('\n{"step": 24, "event": "a step was skipped"}\n{"step": 25, "lo')


class Command(Folder):
    def test_bad_input(self):
        self.assertFails(call("train", "report"), "run")
        self.assertFails(call("train", "report", self.dir / "none"), "none", "no metrics.jsonl")
        self.assertFails(call("train", "report", *["x"] * 9), "9 runs", "8")

    def test_a_run_that_cannot_be_routed_has_a_page_all_the_same(self):
        make = train(self.dir / "run", "--steps", 3)
        self.assertEqual(make.returncode, 0, make.stderr)
        weights, state = self.dir / "run/model.safetensors", self.dir / "run/train.json"
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\xc0\x7f")  # the last weight is no number
        unsummed = json.loads(state.read_text())
        del unsummed["checksums"]
        state.write_text(json.dumps(unsummed))
        done = call("train", "report", self.dir / "run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("its weights are no numbers", (self.dir / "run/report.html").read_text())
        weights.write_bytes(b"")
        out = self.dir / "page.html"
        done = call("train", "report", self.dir / "run", "--out", out, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(last_json(done)["bytes"], len(out.read_bytes()))
        self.assertIn("Nothing to show: ", out.read_text())
        self.assertIn("model.safetensors", out.read_text())

    def test_a_dense_model_has_a_page_without_experts(self):
        make = train(self.dir / "run", "--steps", 3, "--dense-twin")
        self.assertEqual(make.returncode, 0, make.stderr)
        done = call("train", "report", self.dir / "run")
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (self.dir / "run/report.html").read_text()
        self.assertIn("a dense model", text)
        self.assertNotIn("Load of the experts", text)


@unittest.skipUnless(browser.find(), "no chromium here: the page is not opened")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.scratch.name)
        make_runs(folder)
        cls.page = folder / "a page & more.html"
        done = call("train", "report", *[folder / name for name in VARIANTS], "--out", cls.page)
        assert done.returncode == 0, done.stderr
        cls.browser = browser.Browser()
        cls.browser.screen(1200)
        cls.browser.open(cls.page)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.scratch.cleanup()

    def setUp(self):
        self.browser.screen(1200)

    def assertQuiet(self):
        """The console said nothing, nothing was thrown, and nothing but the page itself was asked for."""
        self.assertEqual(self.browser.happened("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"),
                         [])
        asked = [r["request"]["url"] for r in self.browser.happened("Network.requestWillBeSent")]
        self.assertEqual([url for url in asked if url != self.page.as_uri() and not url.startswith("data:")], [])
        self.assertIn(self.page.as_uri(), asked)

    def tip(self):
        return self.browser.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText")

    def test_the_page_asks_nobody_and_complains_of_nothing(self):
        self.assertQuiet()
        self.assertLess(self.page.stat().st_size, 2_000_000)
        self.assertEqual(self.browser.run("document.querySelectorAll('img').length"), 0)

    def test_every_chart_has_title_axes_and_words(self):
        charts = self.browser.run("""[...document.querySelectorAll('svg.chart')].map(svg => ({
            role: svg.getAttribute('role'), label: svg.getAttribute('aria-label'),
            desc: svg.querySelector('desc')?.textContent, title: svg.querySelector('.title')?.textContent,
            x: svg.querySelector('.axis-x')?.textContent, y: svg.querySelector('.axis-y')?.textContent,
            ticks: svg.querySelectorAll('.tick').length, marks: svg.querySelectorAll('path,rect').length,
            broken: /NaN|Infinity|undefined/.test(svg.outerHTML)}))""")
        self.assertGreater(len(charts), 30)
        for chart in charts:
            with self.subTest(chart["title"]):
                self.assertEqual(chart["role"], "img")
                self.assertTrue(chart["title"] and chart["x"] and chart["y"])
                self.assertTrue(chart["label"].startswith(chart["title"]))
                self.assertGreater(len(chart["desc"]), 30)
                self.assertGreater(chart["ticks"], 2)
                self.assertGreater(chart["marks"], 2)
                self.assertFalse(chart["broken"])
        titles = " ".join(chart["title"] for chart in charts)
        for wanted in ("Training loss", "Validation loss", "Distance to the floor", "arithmetic", "Load of layer 1: tight",
                       "Entropy", "Dropped", "balance loss", "Gradient norm", "Learning rate", "Speed", "Layer 0: even"):
            self.assertIn(wanted, titles)

    def assertNoClash(self):
        """Texts of a chart stand apart, at the size in which they are shown."""
        found = self.browser.run("""(() => {
            const clashes = [];
            for (const svg of document.querySelectorAll('svg.chart')) {
                if (!svg.getClientRects().length) continue;
                const texts = [...svg.querySelectorAll('text:not(.note)')];
                const boxes = texts.map(text => text.getBoundingClientRect());
                for (let i = 0; i < boxes.length; ++i) for (let j = 0; j < i; ++j) {
                    const across = Math.min(boxes[i].right, boxes[j].right) - Math.max(boxes[i].left, boxes[j].left);
                    const down = Math.min(boxes[i].bottom, boxes[j].bottom) - Math.max(boxes[i].top, boxes[j].top);
                    if (across > 1 && down > 4)
                        clashes.push(texts[i].textContent + ' on ' + texts[j].textContent + ' in ' +
                                     svg.querySelector('.title').textContent);
                }
            }
            return clashes;
        })()""")
        self.assertEqual(found, [])

    def test_no_letter_lies_on_another(self):
        self.assertNoClash()

    def test_the_axis_switches(self):
        shown = """[...document.querySelectorAll('figure.by')].filter(f => getComputedStyle(f).display !== 'none')
            .map(f => f.querySelector('.axis-x').textContent)"""
        for scale, title in {"tokens": "training tokens", "flops": "training FLOPs", "seconds": "seconds of training",
                             "steps": "optimizer steps"}.items():
            self.browser.run(f"document.querySelector('label[for=by-{scale}]').click()")
            titles = self.browser.run(shown)
            self.assertEqual(len(titles), 2)
            for text in titles:
                self.assertTrue(text.startswith(title), text)

    def test_hovering_reads_every_run(self):
        self.browser.hover(".by-steps svg.chart", 0.6, 0.6)
        said = self.tip()
        self.assertIn("optimizer steps: ", said)
        for name in VARIANTS:
            self.assertRegex(said, rf"(?m)^{name}: [0-9.]+")
        step = int(said.splitlines()[0].split(": ")[1])
        metrics = self.page.parent / "steep/metrics.jsonl"
        loss = [line["loss"] for line in map(json.loads, metrics.read_text().splitlines())
                if line.get("step") == step and "loss" in line]
        self.assertIn(f"steep: {float(f'{loss[0]:.4g}'):g}", said)
        self.browser.hover("h1")
        self.assertEqual(self.tip(), "")

    def test_hovering_a_heat_map_reads_the_load(self):
        self.browser.hover("svg[data-cells]", 0.5, 0.5)
        self.assertRegex(self.tip(), r"expert \d+, optimizer steps: \d+\n([0-9.]+ times the even part|no token at all)")

    def test_hovering_a_token_reads_its_gates_and_layers_switch(self):
        self.browser.hover(".token")
        lines = self.tip().splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[1], r"^layer 1: expert \d × [01]\.\d\d, expert \d × [01]\.\d\d$")
        colours = "[...document.querySelectorAll('.text')[0].querySelectorAll('.token')].map(t => t.className)"
        before = self.browser.run(colours)
        self.browser.run("document.querySelector('label[for=layer-0-1]').click()")
        after = self.browser.run(colours)
        self.assertNotEqual(before, after)
        routes = self.browser.run("document.querySelector('.token').dataset.routes")
        self.assertEqual(after[0], "token e" + routes.split("|")[1].split()[0])
        self.browser.run("document.querySelector('label[for=layer-0-0]').click()")
        self.assertEqual(self.browser.run(colours), before)

    def test_it_fits_a_phone(self):
        self.browser.screen(360, 740, phone=True)
        self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), 360)
        small = self.browser.run("""Math.min(...[...document.querySelectorAll('svg.chart')]
            .filter(svg => svg.getClientRects().length)
            .map(svg => parseFloat(getComputedStyle(svg.querySelector('.tick')).fontSize) *
                        svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))""")
        self.assertGreaterEqual(small, 8)  # pixels of the smallest letters
        self.assertNoClash()

    def test_the_dark_is_dark_and_can_be_read(self):
        lightness = """(() => {
            const light = colour => colour.match(/[0-9.]+/g).slice(0, 3)
                .reduce((sum, c, i) => sum + c / 255 * [0.2126, 0.7152, 0.0722][i], 0);
            const title = getComputedStyle(document.querySelector('svg.chart .title'));
            const curve = getComputedStyle(document.querySelector('.s0 .curve'));
            return [light(getComputedStyle(document.body).backgroundColor), light(title.fill), light(curve.stroke)];
        })()"""
        paper, ink, curve = self.browser.run(lightness)
        self.assertGreater(paper, 0.9)
        self.assertLess(max(ink, curve), 0.5)
        self.browser.screen(1200, dark=True)
        paper, ink, curve = self.browser.run(lightness)
        self.assertLess(paper, 0.15)
        self.assertGreater(min(ink, curve), 0.5)

    def test_it_prints(self):
        pdf = base64.b64decode(self.browser.call("Page.printToPDF", printBackground=True)["data"])
        self.assertTrue(pdf.startswith(b"%PDF"))
        self.assertGreater(pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page "), 2)

    def test_what_a_kill_and_a_sample_leave_is_told(self):
        text = self.browser.run("document.body.textContent")
        self.assertIn("step 24: a step was skipped", text)
        self.assertIn("1 of the lines of metrics.jsonl could not be read", text)
        self.assertIn("</script><script>throw 1</script>", text)
        self.assertIn("capacity", self.browser.run("document.querySelectorAll('table')[0].innerText"))


if __name__ == "__main__":
    unittest.main()
