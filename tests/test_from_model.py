#!/usr/bin/env python3
"""Commands that begin with a model, distill and upcycle, and the rate finder, which leaves none. Finds the programs
through SWITCHYARD_BUILD (default: build)."""
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from test_cli import BUILD, Folder, MODEL_FILES, TINY, call, contents, last_json, train


def first_loss(run):
    return next(m["loss"] for m in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in m)


class FindRate(Folder):
    def find(self, *arguments, **options):
        return call("train", "find-rate", *TINY[:-4], *arguments, **options)  # no --warmup, no --eval-tokens

    def test_prints_a_rate_and_leaves_nothing_behind(self):
        scratch = self.dir / "tmp"
        scratch.mkdir()
        environment = {**os.environ, "TMPDIR": str(scratch)}
        shown = self.find("--steps", 60, "--to", 0.3, "--csv", "rates.csv", cwd=self.dir, env=environment)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("try --rate ", shown.stdout)
        self.assertIn("step 60/60", shown.stderr)
        rows = [line.split(",") for line in (self.dir / "rates.csv").read_text().splitlines()]
        self.assertEqual(rows[0], ["rate", "loss", "smooth"])
        rates = [float(row[0]) for row in rows[1:]]
        self.assertEqual(rates, sorted(rates))
        self.assertAlmostEqual(rates[0], 1e-5)
        self.assertAlmostEqual(rates[-1], 0.3)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["rates.csv", "tmp"])
        self.assertEqual(list(scratch.iterdir()), [])

    def test_json_and_one_rule(self):
        found = last_json(self.find("--steps", 40, "--to", 1, "--json"))
        lowest = min(found["points"], key=lambda p: p["smooth"])
        self.assertAlmostEqual(found["recommended"], lowest["rate"] / 10)
        self.assertLessEqual(found["steepest"], found["lowest"])

    def test_errors(self):
        self.assertFails(self.find("--from", 1, "--to", 0.1), "--from 1 --to 0.1")
        self.assertFails(self.find("--rate", 0.1), "--rate: no such flag")
        self.assertFails(self.find("--steps", 3), "--steps 3: must be at least 10")


class Distill(Folder):
    def setUp(self):
        super().setUp()
        self.teacher = self.dir / "teacher"
        self.assertEqual(train(self.teacher, "--steps", 20, "--checkpoint-every", 10).returncode, 0)

    def distill(self, out, *arguments):
        return call("train", "distill", "--teacher", self.teacher, "--out", self.dir / out, "--json", *arguments)

    def test_the_student_is_the_dense_twin_and_reads_the_teachers_tokens(self):
        done = self.distill("student", "--steps", 6)
        self.assertEqual(done.returncode, 0, done.stderr)
        numbers = last_json(done)
        self.assertEqual(numbers["parameters"], numbers["active_parameters"])
        student = self.dir / "student"
        self.assertEqual((student / "tokenizer.json").read_bytes(), (self.teacher / "tokenizer.json").read_bytes())
        steps = [json.loads(line) for line in (student / "metrics.jsonl").read_text().splitlines()]
        self.assertTrue(all("soft_less_hard" in step["aux"] for step in steps if "loss" in step))
        state = json.loads((student / "train.json").read_text())
        self.assertEqual(state["teacher"], {"dir": str(self.teacher), "share": 0.25})

    def test_the_share_counts(self):
        for share in (0, 1):
            self.assertEqual(self.distill(f"s{share}", "--steps", 3, "--share", share).returncode, 0)
        plain = train(self.dir / "plain", "--steps", 3, "--dense-twin", "--checkpoint-every", 10)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        without = contents(self.dir / "plain")["model.safetensors"]
        self.assertEqual(contents(self.dir / "s0")["model.safetensors"], without, "no share, no teacher")
        self.assertNotEqual(contents(self.dir / "s1")["model.safetensors"], without)

    def test_killed_and_resumed_it_still_has_its_teacher(self):
        self.assertEqual(self.distill("whole", "--steps", 40, "--weights").returncode, 0)
        process = subprocess.Popen([str(BUILD / "switchyard-train"), "distill", "--teacher", str(self.teacher), "--out",
                                    str(self.dir / "killed"), "--steps", "40", "--weights", "--json"],
                                   stdout=subprocess.DEVNULL)
        while not (self.dir / "killed" / "train.json").exists():
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = call("train", "train", "--resume", "--out", self.dir / "killed", "--json")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertEqual(contents(self.dir / "whole"), contents(self.dir / "killed"))
        moved = self.dir / "moved"
        self.teacher.rename(moved)
        gone = call("train", "train", "--resume", "--out", self.dir / "killed", "--steps", 41)
        self.assertFails(gone, str(self.teacher))

    def test_a_student_may_begin_with_the_teachers_weights(self):
        self.assertEqual(self.distill("student", "--steps", 1, "--rate", 0, "--weights").returncode, 0)
        self.assertEqual(self.distill("other", "--steps", 1, "--rate", 0).returncode, 0)
        self.assertNotEqual(contents(self.dir / "student")["model.safetensors"],
                            contents(self.dir / "other")["model.safetensors"])
        self.assertFails(self.distill("wide", "--steps", 1, "--width", 64, "--heads", 4, "--kv-heads", 4, "--weights"),
                         "no weight fits", "--width is 32, not 64")

    def test_errors(self):
        self.assertFails(call("train", "distill", "--out", self.dir / "a"), "--teacher: is missing")
        self.assertFails(call("train", "distill", "--teacher", self.dir / "none", "--out", self.dir / "a"), "none")
        self.assertFails(self.distill("a", "--share", 2), "--share 2: must be 0 to 1")
        self.assertFails(self.distill("a", "--context", 96), "--context 96", "48")
        self.assertFails(self.distill("a", "--adapters", "all"), "--adapters all: a student learns with all")
        self.assertFalse((self.dir / "a").exists())
        before = contents(self.teacher)
        self.assertFails(self.distill("teacher"), "holds a run already")
        self.assertEqual(contents(self.teacher), before)


class Upcycle(Folder):
    def setUp(self):
        super().setUp()
        self.dense = self.dir / "dense"
        self.assertEqual(train(self.dense, "--steps", 20, "--dense-twin").returncode, 0)

    def upcycle(self, out, *arguments):
        return call("train", "upcycle", "--model", self.dense, "--out", self.dir / out, "--json", *arguments)

    def test_the_mixture_computes_what_the_dense_model_does(self):
        made = self.upcycle("mixture", "--experts", 4, "--top-k", 2)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertLess(last_json(made)["largest_difference"], 1e-4)
        self.assertGreater(last_json(made)["parameters"], last_json(made)["active_parameters"])
        self.assertEqual(sorted(p.name for p in (self.dir / "mixture").iterdir() if p.name in MODEL_FILES),
                         ["config.json", "model.safetensors", "tokenizer.json"])
        self.assertFalse((self.dir / "mixture" / "start").exists())
        say = ["--prompt", "Once", "--max-tokens", 12, "--temperature", 0, "--json"]
        said = [last_json(call("infer", "generate", "--model", self.dir / d, *say))["text"] for d in ("dense", "mixture")]
        self.assertEqual(said[0], said[1])
        plain = self.upcycle("plain", "--experts", 4, "--gate-norm", "none")
        self.assertGreater(last_json(plain)["largest_difference"], 1e-3, "gates that do not sum to one")

    def test_with_steps_it_trains_on(self):
        done = self.upcycle("on", "--experts", 4, "--steps", 5)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(last_json(done)["steps"], 5)
        fresh = self.dir / "fresh"
        self.assertEqual(train(fresh, "--steps", 5, "--experts", 4).returncode, 0)
        self.assertLess(first_loss(self.dir / "on"), first_loss(fresh), "it begins where the dense model ended")
        self.assertEqual(call("train", "eval", "--model", self.dir / "on", "--json", "--tokens", 500).returncode, 0)

    def test_errors(self):
        mixture = self.dir / "moe"
        self.assertEqual(train(mixture, "--steps", 1).returncode, 0)
        self.assertFails(call("train", "upcycle", "--model", mixture, "--out", self.dir / "a"), "has 8 experts",
                         "dense model")
        self.assertFails(call("train", "upcycle", "--out", self.dir / "a"), "--model: is missing")
        self.assertFails(self.upcycle("a", "--experts", 4, "--top-k", 5), "--top-k 5")
        self.assertFails(self.upcycle("a", "--width", 64), "--width: no such flag")
        chat = self.dir / "chat.jsonl"
        chat.write_text((json.dumps({"messages": [{"role": "user", "content": "a"},
                                                  {"role": "assistant", "content": "b"}]}) + "\n") * 40)
        tuned = call("train", "finetune", "--model", self.dense, "--conversations", chat, "--out", self.dir / "tuned",
                     "--adapters", "all", "--steps", 2, "--json")
        self.assertEqual(tuned.returncode, 0, tuned.stderr)
        self.assertFails(call("train", "upcycle", "--model", self.dir / "tuned", "--out", self.dir / "a"), "has adapters")
        self.assertFails(call("train", "distill", "--teacher", self.dir / "tuned", "--out", self.dir / "a"),
                         "was tuned on conversations last; --data FILE…")
        self.assertFalse((self.dir / "a").exists())
        shutil.copytree(self.dense, self.dir / "b")
        (self.dir / "b" / "train.json").unlink()
        before = (self.dir / "b" / "model.safetensors").read_bytes()
        self.assertFails(self.upcycle("b", "--experts", 4), "holds a model already")
        self.assertEqual((self.dir / "b" / "model.safetensors").read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
