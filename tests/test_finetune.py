#!/usr/bin/env python3
"""Fine-tuning from end to end: a tiny model learns the built-in questions and is marked; conversations and text of
one's own; frozen parts; an interrupted run; what is said to bad input. Finds the programs through SWITCHYARD_BUILD."""
import json
import signal
import subprocess
import time
import unittest

from test_cli import BUILD, Folder, call, contents, last_json, train

QUESTIONS = ["--people", 4, "--questions", 6]  # 18 conversations
SHORT = ["--warmup", 2, "--eval-every", 1000, "--sample-every", 1000, "--batch", 4]


class Finetune(Folder):
    """Each test begins with a model of two steps, whose context has room for a timetable."""

    def setUp(self):
        super().setUp()
        self.base = self.dir / "base"
        trained = train(self.base, "--steps", 2, "--context", 288, "--people", 4)
        self.assertEqual(trained.returncode, 0, trained.stderr)

    def tune(self, name, *arguments):
        return call("train", "finetune", "--model", self.base, "--out", self.dir / name, "--json", *SHORT, *arguments)

    def marks(self, name, *arguments):
        result = call("train", "eval", "--model", self.dir / name, "--tasks", "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return last_json(result)

    def test_questions_are_learnt_and_marked(self):
        before = self.marks("base", "--trained", "--questions", 6)
        self.assertEqual(before["all"]["asked"], 18)
        self.assertEqual(before["all"]["exact"], 0)
        tuned = self.tune("tuned", "--tasks", *QUESTIONS, "--validation", 0, "--steps", 700, "--rate", 0.01)
        self.assertEqual(tuned.returncode, 0, tuned.stderr)
        after = self.marks("tuned", "--trained", "--questions", 6)
        self.assertGreater(after["all"]["exact"], 3, after)
        self.assertEqual(sum(after[kind]["exact"] for kind in ("people", "sums", "timetables")), after["all"]["exact"])
        self.assertLess(after["all"]["low"], after["all"]["percent"])
        self.assertGreaterEqual(after["all"]["high"], after["all"]["percent"])
        held_out = self.marks("tuned")
        self.assertTrue(held_out["held_out"])
        self.assertEqual(held_out["people"]["asked"], 28)  # one person of four, seven facts in four wordings
        shown = call("train", "eval", "--model", self.dir / "tuned", "--tasks", "--questions", 2)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        for word in ("people", "sums", "timetables", "all", "95 % interval", "right:"):
            self.assertIn(word, shown.stdout)
        settings = json.loads((self.dir / "tuned" / "tokenizer_config.json").read_text())
        self.assertIn("Assistant:", settings["chat_template"])
        self.assertEqual((self.dir / "tuned" / "tokenizer.json").read_bytes(),
                         (self.base / "tokenizer.json").read_bytes())

    def test_text_and_conversations_of_ones_own(self):
        chat, text = self.dir / "chat.jsonl", self.dir / "text.txt"
        chat.write_text("".join(json.dumps({"messages": [{"role": "user", "content": f"say {i}"},
                                                         {"role": "assistant", "content": str(i)}]}) + "\n"
                                for i in range(60)))
        text.write_text("a quick brown fox\n" * 2500)
        for name, arguments in (("chat", ["--conversations", chat]), ("text", ["--data", text])):
            result = self.tune(name, *arguments, "--steps", 3, "--expert-dropout", 0.4, "--balance", 0)
            self.assertEqual(result.returncode, 0, result.stderr)
            config = json.loads((self.dir / name / "config.json").read_text())["switchyard"]
            self.assertEqual((config["expert_dropout"], config["balance"]), (0.4, 0))
            self.assertEqual(call("train", "eval", "--model", self.dir / name, "--json").returncode, 0)
        read = [last_json(call("train", "eval", "--model", self.dir / name, "--corpus", "--json"))
                for name in ("base", "chat")]
        self.assertEqual(read[0]["bytes"], read[1]["bytes"])
        self.assertAlmostEqual(read[0]["loss"], read[1]["loss"], delta=1)  # three steps from each other
        self.assertEqual(read[0]["floor_bits_per_byte"], read[1]["floor_bits_per_byte"])
        self.assertFails(call("train", "eval", "--model", self.base, "--corpus", "--data", text), "--corpus: must not")
        measured = last_json(call("train", "eval", "--model", self.dir / "chat", "--conversations", chat, "--json"))
        self.assertEqual(measured["bytes"], sum(len(f" {i}") for i in range(60)), "answers alone are measured")
        shown = call("train", "finetune", "--model", self.base, "--out", self.dir / "shown", *SHORT, "--conversations",
                     chat, "--steps", 2, "--sample-every", 2, "--freeze", "router,experts")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("frozen: router, experts", shown.stdout)
        self.assertIn("User: say ", shown.stdout)

    def test_an_interrupted_run_goes_on(self):
        arguments = ["--tasks", *QUESTIONS, "--steps", 40, "--checkpoint-every", 5, "--freeze", "experts", "--dropout",
                     0.1]
        self.assertEqual(self.tune("whole", *arguments).returncode, 0)
        killed = self.dir / "killed"
        process = subprocess.Popen([str(BUILD / "switchyard-train"), "finetune", "--model", str(self.base), "--out",
                                    str(killed), "--json", *map(str, SHORT + arguments)], stdout=subprocess.DEVNULL)
        while not (killed / "train.json").exists():
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = call("train", "finetune", "--resume", "--out", killed, "--json")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        whole, killed = contents(self.dir / "whole"), contents(killed)
        for name in ("model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json"):
            self.assertEqual(whole[name], killed[name], name)

    def test_frozen_experts_keep_their_bytes(self):
        self.assertEqual(self.tune("a", "--tasks", *QUESTIONS, "--steps", 3, "--freeze", "experts").returncode, 0)
        before, after = tensors(self.base), tensors(self.dir / "a")
        self.assertEqual(before.keys(), after.keys())
        for name in before:
            self.assertEqual(before[name] == after[name], ".experts." in name, name)

    def test_adapters_learn_and_become_part_of_the_model(self):
        tuned = self.tune("tuned", "--tasks", *QUESTIONS, "--steps", 8, "--adapters", "all", "--adapter-rank", 2,
                          "--average", 0.5)
        self.assertEqual(tuned.returncode, 0, tuned.stderr)
        before, after = tensors(self.base), tensors(self.dir / "tuned")
        self.assertEqual({name: after[name] for name in before}, before, "the matrices stay as they were")
        self.assertEqual({name for name in after if ".adapter." not in name}, set(before))
        for flags in ([], ["--average"]):
            out = self.dir / ("plain" + "".join(flags))
            exported = call("train", "export", "--model", self.dir / "tuned", "--out", out, "--json", *flags)
            self.assertEqual(exported.returncode, 0, exported.stderr)
            self.assertEqual(last_json(exported)["merged"], "all")
            self.assertEqual(tensors(out).keys(), before.keys())
            self.assertEqual(json.loads((out / "config.json").read_text())["model_type"], "mixtral")
            self.assertIn("chat_template", (out / "tokenizer_config.json").read_text())
            self.assertEqual(sorted(p.name for p in out.iterdir()),
                             ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                              "tokenizer_config.json"])
        text = self.dir / "text.txt"
        text.write_text("".join(f"{i} plus 1 is {i + 1}\n" for i in range(300)))
        losses = [last_json(call("train", "eval", "--model", self.dir / name, "--json", "--data", text))["loss"]
                  for name in ("tuned", "plain", "plain--average")]
        self.assertAlmostEqual(losses[0], losses[1], delta=1e-5 * losses[0])
        self.assertGreater(abs(losses[0] - losses[2]), 1e-4)
        asked = [self.marks(name, "--questions", 3, *more)
                 for name, more in (("base", []), ("plain", ["--people", 4]), ("plain", []))]
        self.assertEqual([a["people"]["asked"] for a in asked[:2]], [3, 3])
        self.assertEqual(*[[w["question"] for w in a["people"]["wrong"]] for a in asked[:2]], "of the same four people")
        self.assertNotEqual(*[[w["question"] for w in a["people"]["wrong"]] for a in asked[1:]])
        again = call("train", "finetune", "--model", self.dir / "plain", "--out", self.dir / "more", "--json", *SHORT,
                     "--tasks", *QUESTIONS, "--steps", 2)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertFails(call("train", "finetune", "--model", self.dir / "tuned", "--out", self.dir / "no", "--tasks"),
                         "has adapters already", "./run export")
        self.assertFails(call("train", "export", "--model", self.dir / "tuned", "--out", self.dir / "plain"),
                         "holds a model already")
        self.assertFails(call("train", "export", "--model", self.base, "--out", self.dir / "no", "--average"),
                         "has kept no mean")
        self.assertFails(train(self.dir / "no", "--adapters", "experts"), "--adapters experts: a new model has nothing")
        self.assertFails(self.tune("no", "--tasks", "--adapters", "all", "--freeze", "norms"), "--freeze: with --adapters")
        self.assertFalse((self.dir / "no").exists())

    def test_the_questions_are_printed(self):
        printed = [call("train", "corpus", "--tasks", 5, "--people", 10, *more) for more in ([], ["--held-out"])]
        asked = [{json.loads(line)["messages"][0]["content"] for line in p.stdout.splitlines()} for p in printed]
        self.assertEqual([len(a) for a in asked], [20, 15], "five people's lives besides")
        self.assertFalse(asked[0] & asked[1])

    def test_bad_input(self):
        bad = self.dir / "bad.jsonl"
        bad.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n[]\n')
        self.assertFails(call("train", "finetune", "--tasks", "--out", self.dir / "a"), "--model: is missing")
        self.assertFails(call("train", "finetune", "--tasks", "--model", self.base), "--out is required")
        self.assertFails(self.tune("a"), "no text", "--tasks")
        self.assertFails(self.tune("a", "--tasks", "--data", bad), "several texts")
        self.assertFails(self.tune("a", "--data", bad, "--questions", 6), "--questions: must stand beside --tasks")
        self.assertFails(self.tune("a", "--data", self.dir / "none"), "none: no such file")
        self.assertFails(self.tune("a", "--tasks", "--layers", 3), "--layers: no such flag")
        self.assertFails(self.tune("a", "--tasks", "--freeze", "rooter"), "--freeze rooter: must be router")
        self.assertFails(self.tune("a", "--tasks", "--freeze", "mlp"), "this model has no such part")
        for many in (0, 10**9):
            self.assertFails(self.tune("a", "--tasks", "--questions", many), "must be 1 to 100000")
        self.assertFalse((self.dir / "a").exists(), "nothing is written for a bad command line")
        self.assertFails(self.tune("b", "--conversations", bad), f"{bad}:2: must be")
        self.assertFails(self.tune("base", "--tasks"), "holds a run already")
        self.assertFails(self.tune("c", "--tasks", "--context", 20), "--context 20 holds 21")
        self.assertFails(self.tune("base", "--resume"), "--model: must not stand beside --resume")
        self.assertFails(call("train", "eval", "--model", self.base, "--tasks", "--questions", 0), "must be 1 to 100000")


def tensors(folder):
    """The bytes of each tensor of a model."""
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    return {name: data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]
            for name, t in header.items() if name != "__metadata__"}


if __name__ == "__main__":
    unittest.main()
