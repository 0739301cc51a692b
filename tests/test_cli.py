#!/usr/bin/env python3
"""The programs from end to end, as a person at a terminal uses them: train, resume, generate, eval, inspect, tokenize,
corpus, and what they say to bad input. Finds the programs through SWITCHYARD_BUILD (default: build)."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("SWITCHYARD_BUILD", "build")).resolve()
TINY = ["--preset", "demo", "--layers", "2", "--width", "32", "--heads", "2", "--kv-heads", "2", "--ffn", "32",
        "--context", "48", "--batch", "4", "--merged-vocab", "300", "--corpus-bytes", "60000", "--warmup", "5",
        "--eval-tokens", "500"]
MODEL_FILES = ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json", "train.json"]


def call(program, *arguments, **options):
    command = [str(BUILD / f"switchyard-{program}"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def train(out, *arguments):
    return call("train", "train", *TINY, "--out", out, "--json", *arguments)


def last_json(result):
    return json.loads(result.stdout.strip().splitlines()[-1])


def contents(folder):
    return {name: (folder / name).read_bytes() for name in MODEL_FILES}


class Folder(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()

    def assertFails(self, result, *words):
        """One line `error: …` on stderr that holds the words, exit code 2."""
        self.assertEqual(result.returncode, 2, result.stderr)
        lines = result.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertTrue(lines[0].startswith("error: "), result.stderr)
        for word in words:
            self.assertIn(word, lines[0])


class WholeLine(Folder):
    def test_train_generate_eval_inspect(self):
        out = self.dir / "run"
        trained = train(out, "--steps", 20)
        self.assertEqual(trained.returncode, 0, trained.stderr)
        numbers = last_json(trained)
        for key in ("steps", "train_loss", "val_loss", "tokens_per_second", "parameters", "active_parameters"):
            self.assertIn(key, numbers)
        self.assertEqual(numbers["steps"], 20)
        self.assertLess(numbers["active_parameters"], numbers["parameters"])
        for name in MODEL_FILES + ["metrics.jsonl"]:
            self.assertTrue((out / name).stat().st_size > 0, name)
        metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([m["step"] for m in metrics if "loss" in m], list(range(1, 21)))
        self.assertEqual(len(trained.stdout.strip().splitlines()), 1, "--json prints one line")

        written = call("infer", "generate", "--model", out, "--prompt", "Once", "--max-tokens", 12, "--seed", 3, "--json")
        self.assertEqual(written.returncode, 0, written.stderr)
        again = call("infer", "generate", "--model", out, "--prompt", "Once", "--max-tokens", 12, "--seed", 3, "--json")
        self.assertEqual(last_json(written)["text"], last_json(again)["text"], "the same seed writes the same")
        self.assertLessEqual(last_json(written)["tokens"], 12)

        measured = last_json(call("train", "eval", "--model", out, "--tokens", 20000, "--json"))
        for key in ("loss", "perplexity", "bits_per_byte", "floor_bits_per_byte"):
            self.assertIn(key, measured)
        self.assertGreater(measured["bits_per_byte"], measured["floor_bits_per_byte"])
        self.assertEqual(len(measured["domains"]), 8)

        shown = call("train", "inspect", out)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("timetables", shown.stdout)
        self.assertEqual(last_json(call("train", "inspect", out, "--json"))["parameters"], numbers["parameters"])

    def test_a_domain_of_which_nothing_was_read_has_no_distance(self):
        said = call("train", "train", *TINY, "--steps", 2, "--out", self.dir / "a", "--eval-tokens", 40).stdout
        metrics = [json.loads(line) for line in (self.dir / "a/metrics.jsonl").read_text().splitlines()]
        domains = next(m["domains"] for m in metrics if "val_loss" in m)
        self.assertLess(len(domains), 8)
        self.assertEqual(said.count(" not read"), 8 - len(domains))
        for domain, distance in domains.items():
            self.assertIn(f"{domain} {distance:+.3f}", said)

    def test_what_is_written_takes_the_place_of_no_run_and_no_model(self):
        run, model = self.dir / "run", self.dir / "model"
        self.assertEqual(train(run, "--steps", 3).returncode, 0)
        self.assertEqual(call("train", "export", "--model", run, "--out", model).returncode, 0)
        before = contents(run), (model / "model.safetensors").read_bytes(), (run / "metrics.jsonl").read_bytes()
        self.assertFails(train(model, "--steps", 3), "holds a model already")
        self.assertFails(call("train", "finetune", "--model", model, "--tasks", "--out", model), "holds a model already")
        for name in ("model.safetensors", "metrics.jsonl", "train.json"):
            self.assertFails(call("train", "report", run, "--out", run / name), name, "belongs to a run")
        self.assertFails(call("train", "find-rate", "--csv", run / "train.json"), "belongs to a run")
        self.assertFails(call("train", "find-rate", "--csv", self.dir / "none/x.csv"), "there is no folder")
        self.assertFails(call("train", "corpus", "--out", model / "config.json"), "belongs to a run or a model")
        self.assertFails(train(run / "config.json", "--steps", 3), "config.json: Not a directory")
        after = contents(run), (model / "model.safetensors").read_bytes(), (run / "metrics.jsonl").read_bytes()
        self.assertEqual(before, after)

    def test_a_resumed_run_keeps_what_it_began_with(self):
        run = self.dir / "run"
        self.assertEqual(train(run, "--steps", 3).returncode, 0)
        before = contents(run), (run / "metrics.jsonl").read_bytes()

        def resume(*flags):
            return call("train", "train", "--resume", "--out", run, "--steps", 5, *flags)

        for flag, value, began in (("--domain", "games", "none"), ("--people", 7, "200"),
                                   ("--tokenizer", "chars", "bpe"), ("--average", 0.9, "none"),
                                   ("--adapters", "all", "none"), ("--adapter-alpha", 3, "16")):
            self.assertFails(resume(flag, value), f"{flag} {value}: the run began with {began}; --resume cannot change")
        for flags in (("--preset", "school"), ("--data", "x.txt"), ("--dense-twin",)):
            self.assertFails(resume(*flags), f"{flags[0]}: must not stand beside --resume")
        self.assertFails(resume("--steps", 2), "--steps 2", "has done 3 already")
        self.assertEqual(before, (contents(run), (run / "metrics.jsonl").read_bytes()))

    def test_a_domain_is_of_the_built_in_corpus(self):
        text = self.dir / "text.txt"
        text.write_text("the quick brown fox\n" * 200)
        self.assertFails(train(self.dir / "run", "--data", text, "--domain", "games"), "--domain: is of the built-in")

    def test_a_start_that_failed_leaves_no_tokenizer_to_the_next(self):
        text = self.dir / "text.txt"
        text.write_text("abc\n")
        self.assertFails(train(self.dir / "run", "--data", text, "--tokenizer", "chars"), "training tokens")
        text.write_text("the quick brown fox\n" * 200)
        self.assertEqual(train(self.dir / "run", "--data", text, "--tokenizer", "bytes", "--steps", 2).returncode, 0)
        self.assertEqual(json.loads((self.dir / "run/config.json").read_text())["vocab_size"], 257)

    def test_nothing_held_out_is_not_evaluated(self):
        text = self.dir / "text.txt"
        text.write_text("the quick brown fox\n" * 200)
        done = call("train", "train", *TINY, "--data", text, "--validation", 0, "--steps", 2, "--out", self.dir / "run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("validation loss", done.stdout)

    def test_a_spike_before_the_first_checkpoint_promises_none(self):
        spoilt = train(self.dir / "run", "--steps", 9, "--init", 0, "--epsilon", 0)
        self.assertFails(spoilt, "no checkpoint yet: begin again with")
        self.assertNotIn("--resume", spoilt.stderr)

    def test_nothing_to_measure_is_no_measurement(self):
        run, empty = self.dir / "run", self.dir / "empty.txt"
        self.assertEqual(train(run, "--steps", 3).returncode, 0)
        empty.write_text("")
        self.assertFails(call("train", "eval", "--model", run, "--tokens", -5), "--tokens -5: must be 1 or more")
        self.assertFails(call("train", "eval", "--model", run, "--data", empty), "empty.txt: no token to predict")
        self.assertFails(call("train", "eval", "--model", run, "--tasks", "--corpus"), "--tasks: must stand without")
        few = call("train", "eval", "--model", run, "--tokens", 40)
        self.assertIn("not read", few.stdout)
        for limits in (("--to", "inf"), ("--to", 1e308), ("--from", 1e-300), ("--from", 2, "--to", 1)):
            self.assertFails(call("train", "find-rate", *limits), "must be 1e-12 to 100, the second the higher")
        twice = call("train", "eval", "--model", run, "--tokens", 40, "--threads", 1, "--threads", 2)
        self.assertEqual(twice.returncode, 0, twice.stderr)
        self.assertEqual(twice.stdout, few.stdout, "of a flag given twice the last one counts")

    def test_text_of_ones_own(self):
        text = self.dir / "text.txt"
        text.write_text("the quick brown fox jumps over the lazy dog\n" * 400 + "äöü ßé 漢字\n" * 20, encoding="utf-8")
        for kind in ("bytes", "chars", "bpe"):
            result = train(self.dir / kind, "--steps", 5, "--data", text, "--tokenizer", kind)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(call("train", "eval", "--model", self.dir / kind, "--json").returncode, 0)
            measured = last_json(call("train", "eval", "--model", self.dir / kind, "--data", text, "--json"))
            self.assertEqual(measured["bytes"], text.stat().st_size, "eval --data measures the whole text")
        binary = self.dir / "binary"
        binary.write_bytes(bytes(i * i % 251 for i in range(20000)))
        self.assertFails(train(self.dir / "c", "--steps", 3, "--data", binary, "--tokenizer", "chars"), "not UTF-8")
        result = train(self.dir / "b", "--steps", 3, "--data", binary, text, "--tokenizer", "bytes")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_dense_twin_has_the_active_parameters_but_for_the_router(self):
        moe = last_json(train(self.dir / "moe", "--steps", 1))
        dense = last_json(train(self.dir / "dense", "--steps", 1, "--dense-twin"))
        self.assertEqual(dense["parameters"], dense["active_parameters"])
        self.assertEqual(moe["active_parameters"] - dense["parameters"], 2 * 8 * 32)  # two routers of (8, 32)


class Reproduce(Folder):
    def test_list_and_names(self):
        listed = call("train", "reproduce")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        for name in ("collapse", "switch-scaling", "deepseekmoe-table", "finetune"):
            self.assertIn(name, listed.stdout)
        self.assertFails(call("train", "reproduce", "capacty"), "capacty", "did you mean capacity?")
        self.assertFails(call("train", "reproduce", "collapse", "--seeds", 0), "--seeds 0: must be 1 to 100")
        self.assertFails(call("train", "reproduce", "collapse", "--record", cwd=self.dir), "--record", "docs/record")


class SameBits(Folder):
    def test_threads(self):
        for threads in (1, 2, 3):
            self.assertEqual(train(self.dir / str(threads), "--steps", 8, "--threads", threads).returncode, 0)
        one = contents(self.dir / "1")
        self.assertEqual(one, contents(self.dir / "2"))
        self.assertEqual(one, contents(self.dir / "3"))

    def test_kill_and_resume(self):
        whole, killed = self.dir / "whole", self.dir / "killed"
        arguments = ["--steps", 60, "--checkpoint-every", 10, "--dropout", 0.1, "--capacity", 1.0, "--jitter", 0.1,
                     "--accumulate", 2]
        self.assertEqual(train(whole, *arguments).returncode, 0)
        process = subprocess.Popen([str(BUILD / "switchyard-train"), "train", *TINY, "--out", str(killed), "--json",
                                    *map(str, arguments)], stdout=subprocess.DEVNULL)
        while not (killed / "train.json").exists():
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertLess(json.loads((killed / "train.json").read_text())["step"], 60)
        resumed = call("train", "train", "--resume", "--out", killed, "--json")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertEqual(contents(whole), contents(killed))
        steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()
                 if '"loss"' in line]
        self.assertEqual(steps, list(range(1, 61)))

    def test_interrupt_saves_and_says_how_to_go_on(self):
        out = self.dir / "run"
        process = subprocess.Popen([str(BUILD / "switchyard-train"), "train", *TINY, "--out", str(out), "--steps",
                                    "100000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (out / "metrics.jsonl").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
        self.assertIn(f"--resume --out {out}", error)
        self.assertGreater(json.loads((out / "train.json").read_text())["step"], 0)


class BadInput(Folder):
    def test_flags(self):
        self.assertFails(train(self.dir / "a", "--experts", 0), "--experts 0: must be 1 to 4096")
        self.assertFails(train(self.dir / "a", "--expert", 4), "--expert", "did you mean --experts?")
        self.assertFails(train(self.dir / "a", "--top-k", 9), "--top-k 9", "8")
        self.assertFails(train(self.dir / "a", "--top-k", 1), "--gate-norm")
        self.assertFails(train(self.dir / "a", "--gradient-noise"), "--gradient-noise: needs --accumulate 2")
        self.assertFails(train(self.dir / "a", "--capacity", 0), "--capacity 0")
        self.assertFails(train(self.dir / "a", "--steps", "many"), "--steps many")
        self.assertFails(call("train", "train", "--preset", "dmeo", "--out", self.dir / "a"), "did you mean demo?")
        self.assertFails(call("train", "trian"), "trian")
        self.assertFalse((self.dir / "a").exists(), "nothing is written for a bad command line")

    def test_files(self):
        self.assertFails(train(self.dir / "a", "--data", self.dir / "none.txt"), "none.txt")
        short = self.dir / "short.txt"
        short.write_text("short")
        self.assertFails(train(self.dir / "b", "--data", short), "--context")
        self.assertFails(call("infer", "generate", "--model", self.dir / "none"), "none")
        self.assertFails(call("train", "eval", "--model", self.dir / "none"), "none")
        self.assertFails(call("train", "inspect", "dem"), "did you mean demo?")
        self.assertFails(call("train", "route", "--logits", self.dir / "none.json"), "none.json")
        self.assertFails(call("train", "route"), "--logits is required")
        self.assertFails(call("train", "train", "--resume", "--out", self.dir / "c"), "no run")

    def test_a_run_is_not_overwritten(self):
        self.assertEqual(train(self.dir / "run", "--steps", 2).returncode, 0)
        before = contents(self.dir / "run")
        self.assertFails(train(self.dir / "run", "--steps", 2), "--resume")
        self.assertEqual(before, contents(self.dir / "run"))

    def test_one_run_at_a_time_in_a_folder(self):
        out = self.dir / "run"
        process = subprocess.Popen([str(BUILD / "switchyard-train"), "train", *TINY, "--out", str(out), "--steps",
                                    "100000", "--checkpoint-every", "5"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while not (out / "train.json").exists():
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.01)
        self.assertFails(call("train", "train", "--resume", "--out", out), str(out), "another run")
        self.assertIsNone(process.poll(), "the first run goes on")
        process.send_signal(signal.SIGKILL)
        process.wait()
        step = json.loads((out / "train.json").read_text())["step"]
        resumed = call("train", "train", "--resume", "--out", out, "--steps", step + 1, "--json")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)

    def test_damaged_checkpoint(self):
        out = self.dir / "run"
        self.assertEqual(train(out, "--steps", 2).returncode, 0)
        model = (out / "model.safetensors").read_bytes()
        (out / "model.safetensors").write_bytes(model[:-1])
        self.assertFails(call("infer", "generate", "--model", out), "model.safetensors")
        (out / "model.safetensors").write_bytes(model)
        (out / "config.json").write_text("{")
        self.assertFails(call("infer", "generate", "--model", out), "config.json")
        (out / "tokenizer.json").write_text("[]")
        self.assertFails(call("train", "tokenize", "--tokenizer", out, "--text", "a"), "tokenizer.json")


class Sizes(Folder):
    def test_published_model(self):
        shown = call("train", "inspect", "mixtral-8x7b")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        for text in ("arXiv 2401.04088, table 1", "46.7B", "12.9B", "46,702,792,704", "12,879,925,248", "93.4GB",
                     "131,072", "dense, same active", "dense, same size"):
            self.assertIn(text, shown.stdout)
        numbers = last_json(call("train", "inspect", "mixtral-8x7b", "--json"))
        model, active, total = (numbers[k] for k in ("model", "dense_of_same_active", "dense_of_same_total"))
        self.assertEqual(model["parameters"], 46702792704)
        self.assertEqual(model["parameters"], sum(model["parts"].values()))
        self.assertEqual(model["bytes_to_serve"], {"f32": 186811170816, "bf16": 93405585408, "int8": 46702792704,
                                                   "int4": 23351396352})
        self.assertEqual(model["bf16_cache_bytes_per_token"], 2 * 2 * 32 * 8 * 128)
        router = model["parts"]["router"]
        self.assertEqual(active["parameters"], model["active_parameters"] - router)
        self.assertEqual(total["parameters"], model["parameters"] - router)
        self.assertEqual(active["forward_flops_per_token"], model["forward_flops_per_token"] - 2 * router)
        self.assertEqual(numbers["config"]["ffn"], 14336)
        self.assertEqual(numbers["published"], {"parameters": "46.7B", "active_parameters": "12.9B"})

    def test_what_is_counted_but_not_built(self):
        shown = call("train", "inspect", "switch-xxl").stdout
        self.assertIn("counted but not built", shown)
        self.assertIn("table 9 says 64 experts, which would be 201.4B", shown)
        self.assertNotIn("config", last_json(call("train", "inspect", "switch-xxl", "--json")))
        self.assertIn("0 B", call("train", "inspect", "shazeer-2017-moe-4").stdout)  # an LSTM keeps no cache

    def test_list_of_names(self):
        shown, known = call("train", "inspect").stdout, last_json(call("train", "inspect", "--json"))
        self.assertGreater(len(known["published"]), 29)
        for model in known["presets"] + known["published"]:
            self.assertIn(f"\n{model['name']} ", shown)
            self.assertEqual(call("train", "inspect", model["name"]).returncode, 0)

    def test_presets_and_trained_models_have_the_table_too(self):
        for name, table in (("demo", True), ("baby", False)):  # a dense model has nothing to stand beside it
            self.assertEqual("dense, same size" in call("train", "inspect", name).stdout, table)
        self.assertEqual(train(self.dir / "run", "--steps", 1).returncode, 0)
        self.assertIn("dense, same size", call("train", "inspect", self.dir / "run").stdout)
        self.assertIn("dense_of_same_total", last_json(call("train", "inspect", self.dir / "run", "--json")))

    def test_unknown_name(self):
        self.assertFails(call("train", "inspect", "mixtral-8x7"), "inspect mixtral-8x7", "did you mean mixtral-8x7b?")
        self.assertFails(call("train", "train", "--preset", "mixtral-8x7b", "--out", self.dir / "a"), "mixtral-tiny")


class Text(Folder):
    def test_tokenize(self):
        result = call("train", "tokenize", "--text", "Zug €")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("90 117 103 32 226 130 172", result.stdout)

    def test_corpus(self):
        first = call("train", "corpus", "--documents", 20)
        self.assertEqual(first.stdout, call("train", "corpus", "--documents", 20).stdout)
        out = self.dir / "corpus.txt"
        self.assertEqual(call("train", "corpus", "--documents", 20, "--out", out).returncode, 0)
        text = out.read_bytes()
        for line in (self.dir / "corpus.txt.domains.jsonl").read_text().splitlines():
            document = json.loads(line)
            self.assertEqual(text[document["start"] + document["bytes"]:][:2], b"\n\n")
        measured = last_json(call("train", "corpus", "--measure", "--documents", 500, "--json"))
        self.assertEqual(len(measured["domains"]), 9)  # eight, and all of them
        self.assertFails(call("train", "corpus", "--domain", "poems"), "stories")


if __name__ == "__main__":
    unittest.main()
