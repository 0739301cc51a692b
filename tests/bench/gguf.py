"""Writes a checkpoint of the Llama or Mixtral architecture (Hugging Face's layout, model.safetensors in F32) as one GGUF
file, version 3, for llama.cpp. Its vocabulary is made up, for token numbers are all that is exchanged with it."""
import json
import pathlib
import struct

F32, ALIGNMENT = 0, 32  # a tensor's type; where tensors begin
U32_VALUE, F32_VALUE, TEXT_VALUE, LIST_VALUE = 4, 6, 8, 9


class Safetensors:
    def __init__(self, path):
        self.file = open(path, "rb")
        length, = struct.unpack("<Q", self.file.read(8))
        self.tensors = json.loads(self.file.read(length))
        self.tensors.pop("__metadata__", None)
        self.begin = 8 + length
        for name, tensor in self.tensors.items():
            if tensor["dtype"] != "F32":
                raise SystemExit(f"error: {path}: {name}: is {tensor['dtype']}, must be F32")

    def data(self, name):
        begin, end = self.tensors[name]["data_offsets"]
        self.file.seek(self.begin + begin)
        return self.file.read(end - begin)


def interleave(data, heads, rows):
    """llama.cpp turns the neighbours 2 i and 2 i + 1 of a head where Hugging Face turns i and i + D / 2: the rows of a
    matrix (heads D, in) change places within each head."""
    row, D = len(data) // rows, rows // heads
    order = (h * D + i % 2 * (D // 2) + i // 2 for h in range(heads) for i in range(D))
    return b"".join(data[at * row:(at + 1) * row] for at in order)


def names(config, tied):
    """(their name, our names that it is stacked of, heads to interleave or 0), in the order of the file."""
    yield "token_embd", ["model.embed_tokens"], 0
    for i in range(config["num_hidden_layers"]):
        ours, theirs = f"model.layers.{i}.", f"blk.{i}."
        yield theirs + "attn_norm", [ours + "input_layernorm"], 0
        yield theirs + "attn_q", [ours + "self_attn.q_proj"], config["num_attention_heads"]
        yield theirs + "attn_k", [ours + "self_attn.k_proj"], config["num_key_value_heads"]
        yield theirs + "attn_v", [ours + "self_attn.v_proj"], 0
        yield theirs + "attn_output", [ours + "self_attn.o_proj"], 0
        yield theirs + "ffn_norm", [ours + "post_attention_layernorm"], 0
        if config["model_type"] == "llama":
            for part in ("gate", "up", "down"):
                yield theirs + f"ffn_{part}", [f"{ours}mlp.{part}_proj"], 0
            continue
        yield theirs + "ffn_gate_inp", [ours + "block_sparse_moe.gate"], 0
        for part, w in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
            experts = range(config["num_local_experts"])
            yield theirs + f"ffn_{part}_exps", [f"{ours}block_sparse_moe.experts.{e}.{w}" for e in experts], 0
    yield "output_norm", ["model.norm"], 0
    if not tied:
        yield "output", ["lm_head"], 0


def text(string):
    return struct.pack("<Q", len(string.encode())) + string.encode()


def keys(c, context):
    """The keys and their values; `context`: the tokens that the reader may see."""
    whole = lambda key, x: text("llama." + key) + struct.pack("<II", U32_VALUE, x)
    real = lambda key, x: text("llama." + key) + struct.pack("<If", F32_VALUE, x)
    word = lambda key, x: text(key) + struct.pack("<I", TEXT_VALUE) + text(x)
    words = lambda key, x: text(key) + struct.pack("<IIQ", LIST_VALUE, TEXT_VALUE, len(x)) + b"".join(map(text, x))
    found = [word("general.architecture", "llama"), whole("context_length", context),
             whole("embedding_length", c["hidden_size"]), whole("block_count", c["num_hidden_layers"]),
             whole("feed_forward_length", c["intermediate_size"]), whole("vocab_size", c["vocab_size"]),
             whole("attention.head_count", c["num_attention_heads"]),
             whole("attention.head_count_kv", c["num_key_value_heads"]),
             real("attention.layer_norm_rms_epsilon", c["rms_norm_eps"]), real("rope.freq_base", c["rope_theta"]),
             whole("rope.dimension_count", c["head_dim"]),
             word("tokenizer.ggml.model", "gpt2"), word("tokenizer.ggml.pre", "gpt-2"),
             words("tokenizer.ggml.tokens", [f"token{i}" for i in range(c["vocab_size"])]),
             words("tokenizer.ggml.merges", [])]
    if c["model_type"] == "mixtral":
        found += [whole("expert_count", c["num_local_experts"]), whole("expert_used_count", c["num_experts_per_tok"])]
    return found


def padding(length):
    return b"\0" * (-length % ALIGNMENT)


def write_gguf(directory, path, context):
    directory = pathlib.Path(directory)
    config = json.loads((directory / "config.json").read_text())
    if config["model_type"] not in ("llama", "mixtral"):
        raise SystemExit(f"error: {directory}: model_type {config['model_type']}: llama.cpp's must be llama or mixtral")
    weights = Safetensors(directory / "model.safetensors")
    plan, values = list(names(config, "lm_head.weight" not in weights.tensors)), keys(config, context)
    head, offset = [b"GGUF", struct.pack("<IQQ", 3, len(plan), len(values)), *values], 0
    for name, parts, _ in plan:
        shape = weights.tensors[parts[0] + ".weight"]["shape"]
        size = 4 * len(parts)
        for n in shape:
            size *= n
        shape = shape[::-1] + ([len(parts)] if len(parts) > 1 else [])  # the fastest dimension comes first
        head.append(text(name + ".weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, F32, offset))
        offset += size + len(padding(size))
    with open(path, "wb") as file:
        head = b"".join(head)
        file.write(head + padding(len(head)))
        for _, parts, heads in plan:
            data = b"".join(weights.data(part + ".weight") for part in parts)
            rows = weights.tensors[parts[0] + ".weight"]["shape"][0]
            file.write((interleave(data, heads, rows) if heads else data) + padding(len(data)))
