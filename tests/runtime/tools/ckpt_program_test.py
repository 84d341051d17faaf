#!/usr/bin/env python3
"""tessera-ckpt as a user meets it: exit codes, messages, files, and whether training goes on from them.

    ckpt_program_test.py --program build/mpi/bin/tessera-ckpt --train build/mpi/bin/tessera-train --case errors

The oracle is this file: it reads and writes safetensors with struct and json alone.
"""
import argparse
import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from train_program_test import CONFIG, Bench, Failure, check

SIZES = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4}


# ---- safetensors, from its description ----------------------------------------------------------------------------


def read_safetensors(path):
    """name: (dtype, shape, bytes)"""
    data = path.read_bytes()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def read_directory(path):
    """All tensors of a model directory, through its index where it has one."""
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return read_safetensors(path / "model.safetensors")
    content = json.loads(index.read_text())
    tensors = {}
    for name, file in content["weight_map"].items():
        tensors[name] = read_safetensors(path / file)[name]
    size = sum(len(data) for _, _, data in tensors.values())
    check(content["metadata"].get("total_size", size) == size, "index: total_size")
    return tensors


def words_of(data):
    return struct.unpack(f"<{len(data) // 2}H", data)


def values_of(dtype, data):
    if dtype == "F32":
        return struct.unpack(f"<{len(data) // 4}f", data)
    if dtype == "F16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    return struct.unpack(f"<{len(data) // 2}f", b"".join(struct.pack("<I", word << 16) for word in words_of(data)))


def bf16_value(word):
    return struct.unpack("<f", struct.pack("<I", word << 16))[0]


def bf16_of(value):
    """The nearer of the two neighbours, of equals the one whose last bit is 0. Doubles hold the distances exactly."""
    word = struct.unpack("<I", struct.pack("<f", value))[0] >> 16  # towards zero
    if math.isinf(value):
        return word
    low, high = bf16_value(word), bf16_value(word + 1)
    if math.isinf(high):  # it stands where the next value would be
        high = math.copysign(2.0**128, value)
    below, above = abs(value - low), abs(high - value)
    return word if below < above or (below == above and word % 2 == 0) else word + 1


# ---- models ---------------------------------------------------------------------------------------------------


def shapes_of(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = width // config["num_attention_heads"]
    keys = config["num_key_value_heads"] * head
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], width]}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": [width],
            prefix + "self_attn.q_proj.weight": [width, width],
            prefix + "self_attn.k_proj.weight": [keys, width],
            prefix + "self_attn.v_proj.weight": [keys, width],
            prefix + "self_attn.o_proj.weight": [width, width],
            prefix + "post_attention_layernorm.weight": [width],
            prefix + "mlp.gate_proj.weight": [inner, width],
            prefix + "mlp.up_proj.weight": [inner, width],
            prefix + "mlp.down_proj.weight": [width, inner],
        }
    shapes["model.norm.weight"] = [width]
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [config["vocab_size"], width]
    return shapes


def model_with(dtype, embedding, config=CONFIG):
    """A model whose embedding starts with these bytes; all else counts up in steps that each type holds exactly."""
    tensors = {}
    for name, shape in shapes_of(config).items():
        count = math.prod(shape)
        numbers = [(i % 255 - 127) / 128 for i in range(count)]
        if dtype == "F32":
            data = struct.pack(f"<{count}f", *numbers)
        elif dtype == "F16":
            data = struct.pack(f"<{count}e", *numbers)
        else:
            data = struct.pack(f"<{count}H", *(bf16_of(number) for number in numbers))
        if name == "model.embed_tokens.weight":
            check(len(embedding) <= len(data), "the embedding is too long for the model")
            data = embedding + data[len(embedding):]
        tensors[name] = (dtype, shape, data)
    return tensors


def write_model(path, tensors, config=CONFIG, shards=1):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    if shards == 1:
        write_safetensors(path / "model.safetensors", tensors)
        return
    names, place = list(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        write_safetensors(path / file, {name: tensors[name] for name in part})
        place |= {name: file for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": place}))


# ---- the program --------------------------------------------------------------------------------------------------


class Ckpt:
    def __init__(self, args, directory):
        self.program = args.program
        self.dir = pathlib.Path(directory)
        self.bench = Bench(argparse.Namespace(program=args.train, launch=None), directory)

    def run(self, *arguments, **options):
        return subprocess.run([self.program, *map(str, arguments)], text=True, capture_output=True, timeout=60,
                              **options)

    def good(self, *arguments):
        done = self.run(*arguments)
        check(done.returncode == 0 and not done.stderr, f"{arguments}: exit code {done.returncode}",
              done.stdout + done.stderr)
        return done.stdout

    def inspect(self, path, *flags):
        return json.loads(self.good("inspect", path, "--json", *flags))

    def checkpoint(self, out, steps, *flags, ranks=2):
        self.bench.train(out, ranks, "--steps", steps, *flags)
        return self.dir / out / "checkpoints" / f"step-{steps:08}"

    def files(self):
        return sorted((str(p), p.stat().st_size) for p in self.dir.rglob("*"))


def stats_of(tensors):
    """What inspect --stats --json must say, but for the checksum."""
    stats = {}
    for name, (dtype, _, data) in tensors.items():
        values = values_of(dtype, data)
        finite = [value for value in values if math.isfinite(value)]
        stats[name] = {"min": min(finite), "max": max(finite), "mean": math.fsum(finite) / len(finite),
                       "finite": len(finite), "non_finite": len(values) - len(finite)}
    return stats


def check_stats(found, expected):
    for name, numbers in expected.items():
        for field, number in numbers.items():
            # The mean is a sum of at most 2^17 doubles of magnitude below 2^127: 2^17 roundings of 2^-53.
            tolerance = 2.0**-36 * max(abs(numbers["min"]), abs(numbers["max"])) if field == "mean" else 0
            check(abs(found[name]["stats"][field] - number) <= tolerance,
                  f"{name}: {field} {found[name]['stats'][field]} is not {number}")


def by_name(report):
    return {tensor["name"]: tensor for tensor in report["tensors"]}


def case_inspect(ckpt):
    """Every number that inspect prints, against this file's own reading."""
    infinite = struct.pack("<4f", math.inf, -math.inf, math.nan, 3e38)
    write_model(ckpt.dir / "hf", model_with("F32", infinite), shards=3)
    report = ckpt.inspect(ckpt.dir / "hf", "--stats")
    tensors = read_directory(ckpt.dir / "hf")
    check(report["kind"] == "huggingface" and report["parameters"] == sum(
        math.prod(shape) for _, shape, _ in tensors.values()), "parameters", json.dumps(report))
    check({file["file"]: file["bytes"] for file in report["files"]} ==
          {p.name: p.stat().st_size for p in (ckpt.dir / "hf").glob("*.safetensors")}, "files")
    found = by_name(report)
    check({name: (t["dtype"], t["shape"], t["bytes"]) for name, t in found.items()} ==
          {name: (dtype, shape, len(data)) for name, (dtype, shape, data) in tensors.items()}, "tensors")
    check_stats(found, stats_of(tensors))
    check(found["model.embed_tokens.weight"]["stats"]["non_finite"] == 3, "non-finite values")
    text = ckpt.good("inspect", ckpt.dir / "hf", "--stats")
    check("Hugging Face directory" in text and all(name in text for name in tensors), "text", text)
    check("stats" not in by_name(ckpt.inspect(ckpt.dir / "hf"))["model.norm.weight"], "stats only when asked")

    # A checkpoint: its shards, in order of the flat buffer's ranges, are parameters and two moments.
    step = ckpt.checkpoint("run", 3, "--warmup", 0, ranks=3)
    report = ckpt.inspect(step, "--stats")
    check((report["kind"], report["step"], report["next_sample"], report["seed"]) == ("checkpoint", 3, 12, 1),
          "head", json.dumps(report)[:400])
    check(report["run"]["sequence_length"] == "64" and len(report["files"]) == 3, "run and files")
    manifest = json.loads((step / "manifest.json").read_text())
    flats = [[0.0] * manifest["parameters"] for _ in range(3)]
    for shard in manifest["shards"]:
        values = struct.unpack(f"<{shard['bytes'] // 4}f", (step / shard["file"]).read_bytes())
        at = 0
        for flat in flats:
            for begin, count in shard["ranges"]:
                flat[begin:begin + count] = values[at:at + count]
                at += count
    found = by_name(report)
    for part, flat in zip(("stats", "first_moment", "second_moment"), flats):
        for name, tensor in found.items():
            values = flat[tensor["offset"]:tensor["offset"] + math.prod(tensor["shape"])]
            check(tensor[part]["min"] == min(values) and tensor[part]["max"] == max(values) and
                  tensor[part]["non_finite"] == 0, f"{name}: {part}")
            check(abs(tensor[part]["mean"] - math.fsum(values) / len(values)) < 1e-12, f"{name}: {part} mean")
    text = ckpt.good("inspect", step)
    check("after step 3" in text and "run         sequence_length 64" in text, "text", text)


def case_types(ckpt):
    """All 65536 patterns of each 16-bit type to fp32, and fp32 to each type: every value, midpoint and neighbour."""
    config = {**CONFIG, "hidden_size": 64, "vocab_size": 5120}  # an embedding of 327680 values
    patterns = struct.pack("<65536H", *range(65536))
    for dtype in ("BF16", "F16"):
        source = ckpt.dir / dtype
        write_model(source, model_with(dtype, patterns, config), config, shards=2)
        ckpt.good("export", source, ckpt.dir / f"{dtype}_as_f32")
        wide = read_directory(ckpt.dir / f"{dtype}_as_f32")
        for name, (_, shape, data) in read_directory(source).items():
            check(wide[name][:2] == ("F32", shape), f"{name}: {wide[name][:2]}")
            for want, got in zip(values_of(dtype, data), values_of("F32", wide[name][2])):
                check(struct.pack("<f", want) == struct.pack("<f", got) or (math.isnan(want) and math.isnan(got)),
                      f"{dtype} {want} became {got}")
        # And back: nothing is lost.
        ckpt.good("export", ckpt.dir / f"{dtype}_as_f32", ckpt.dir / f"{dtype}_back", "--type", dtype.lower(),
                  "--max-shard-size", "20KB")
        back = read_directory(ckpt.dir / f"{dtype}_back")
        for name, (_, _, data) in read_directory(source).items():
            for was, now in zip(words_of(data), words_of(back[name][2])):
                check(was == now or math.isnan(values_of(dtype, struct.pack("<H", was))[0]), f"{was:#x} is {now:#x}")
        check(len(list((ckpt.dir / f"{dtype}_back").glob("*.safetensors"))) > 3, "shards")
        check(json.loads((ckpt.dir / f"{dtype}_back/config.json").read_text())["torch_dtype"] ==
              {"BF16": "bfloat16", "F16": "float16"}[dtype], "torch_dtype")

    for dtype, last, decode in (("BF16", 0x7f7f, bf16_value),
                                ("F16", 0x7bff, lambda word: struct.unpack("<e", struct.pack("<H", word))[0])):
        inputs = []
        for word in range(last):
            low, high = decode(word), decode(word + 1)
            middle = struct.unpack("<f", struct.pack("<f", (low + high) / 2))[0]
            bits, = struct.unpack("<I", struct.pack("<f", middle))
            inputs += [low, -middle] + [struct.unpack("<f", struct.pack("<I", bits + d))[0] for d in (-1, 1) if bits]
        for number, part in enumerate(inputs[i:i + 5120 * 64] for i in range(0, len(inputs), 5120 * 64)):
            source, target = ckpt.dir / f"{dtype}_in{number}", ckpt.dir / f"{dtype}_out{number}"
            write_model(source, model_with("F32", struct.pack(f"<{len(part)}f", *part), config), config)
            ckpt.good("export", source, target, "--type", dtype.lower())
            got = read_directory(target)["model.embed_tokens.weight"][2]
            wanted = struct.pack(f"<{len(part)}e", *part) if dtype == "F16" else \
                struct.pack(f"<{len(part)}H", *map(bf16_of, part))
            check(got[:len(wanted)] == wanted, f"{dtype}: rounding")


def damaged_copy(ckpt, source, name, damage):
    path = ckpt.dir / name
    shutil.copytree(source, path)
    damage(path)
    return path


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def case_errors(ckpt):
    """Each of the user's mistakes: one screen, exit code 2, nothing written."""
    plain = model_with("F32", b"")
    hf = ckpt.dir / "hf"
    write_model(hf, plain)

    def changed(name, change, config=CONFIG, shards=1):
        tensors = dict(plain)
        change(tensors)
        write_model(ckpt.dir / name, tensors, config, shards)
        return ckpt.dir / name

    norm = "model.norm.weight"
    missing = changed("missing", lambda t: t.pop(norm))
    extra = changed("extra", lambda t: t.update({"model.bias": plain[norm]}))
    shape = changed("shape", lambda t: t.update({norm: ("F32", [16], bytes(64))}))
    integer = changed("integer", lambda t: t.update({norm: ("I32", [32], bytes(128))}))
    nan = changed("nan", lambda t: t.update({norm: ("F32", [32], struct.pack("<32f", *[1] * 31, math.nan))}))
    large = changed("large", lambda t: t.update({norm: ("F32", [32], struct.pack("<32f", *[1] * 31, 65520))}))
    gpt2 = changed("gpt2", lambda t: None, {**CONFIG, "model_type": "gpt2"})
    lost = changed("lost", lambda t: None, shards=3)
    (lost / "model-00002-of-00003.safetensors").unlink()
    cut = damaged_copy(ckpt, hf, "cut", lambda p: os.truncate(p / "model.safetensors", 5000))
    no_config = damaged_copy(ckpt, hf, "no_config", lambda p: (p / "config.json").unlink())
    huge = ckpt.dir / "huge.json"
    huge.write_text(json.dumps({**CONFIG, "vocab_size": 1 << 24, "hidden_size": 1 << 20, "head_dim": 64}))
    (ckpt.dir / "empty").mkdir()

    step = ckpt.checkpoint("run", 2, "--warmup", 0)
    torn = damaged_copy(ckpt, step, "torn", lambda p: flip(p / "shard-0001-of-0002.bin", 100))
    short = damaged_copy(ckpt, step, "short", lambda p: os.truncate(p / "shard-0000-of-0002.bin", 100))
    no_shard = damaged_copy(ckpt, step, "no_shard", lambda p: (p / "shard-0000-of-0002.bin").unlink())
    manifest = damaged_copy(ckpt, step, "manifest", lambda p: (p / "manifest.json").write_text(
        (p / "manifest.json").read_text().replace('"step": 2', '"step": 3')))
    half = damaged_copy(ckpt, step, "half", lambda p: os.truncate(p / "manifest.json", 500))

    out = ckpt.dir / "out"
    cases = [
        # arguments, texts
        ([], ["subcommand"]),
        (["explode"], ["explode"]),
        (["inspect"], ["DIR"]),
        (["inspect", hf, "--stat"], ["--stat"]),
        (["inspect", ckpt.dir / "nowhere"], ["nowhere", "nothing", "check the path"]),
        (["inspect", huge], ["huge.json", "no directory"]),
        (["inspect", ckpt.dir / "empty"], ["empty", "neither manifest.json nor model.safetensors"]),
        (["inspect", ckpt.dir / "run"], ["name one checkpoint", "run/checkpoints/step-00000002"]),
        (["inspect", missing], ["missing", norm, "no such tensor"]),
        (["inspect", extra], ["extra", "model.bias", "no place for"]),
        (["inspect", shape], ["shape", norm, "[16]", "[32]"]),
        (["inspect", integer, "--stats"], ["integer", norm, "I32", "F32, BF16 or F16"]),
        (["inspect", gpt2], ["gpt2", "model_type", "llama"]),
        (["inspect", cut], ["cut/model.safetensors", "data_offsets"]),
        (["inspect", lost], ["lost/model-00002-of-00003.safetensors", "no such file"]),
        (["inspect", no_config], ["no_config/config.json"]),
        (["inspect", torn, "--stats"], ["torn/shard-0001-of-0002.bin", "XXH64"]),
        (["inspect", short], ["short/shard-0000-of-0002.bin", "100 bytes"]),
        (["inspect", no_shard], ["no_shard/shard-0000-of-0002.bin", "no such file"]),
        (["inspect", manifest], ["manifest/manifest.json", "XXH64"]),
        (["inspect", half], ["half/manifest.json"]),
        (["export", hf], ["DST"]),
        (["export", hf, ckpt.dir / "empty"], ["empty", "it exists"]),
        (["export", hf, huge], ["huge.json", "it exists"]),
        (["export", hf, huge / "below"], ["huge.json/below"]),
        (["export", hf, out, "--type", "f64"], ["--type", "f64", "f32, bf16 or f16"]),
        (["export", hf, out, "--max-shard-size", "0"], ["--max-shard-size", "above 0"]),
        (["export", hf, out, "--max-shard-size", "-5MB"], ["--max-shard-size"]),
        (["export", hf, out, "--max-shard-size", "5 parsecs"], ["--max-shard-size", "parsecs"]),
        (["export", hf, out, "--tokenizer", ckpt.dir / "nowhere"], ["--tokenizer", "nowhere"]),
        (["export", large, out, "--type", "f16"], ["large", norm, "65520 at element 31", "bf16"]),
        (["export", integer, out], [norm, "I32"]),
        (["export", missing, out], [norm]),
        (["export", torn, out], ["torn/shard-0001-of-0002.bin", "XXH64"]),
        (["export", short, out], ["short/shard-0000-of-0002.bin"]),
        (["import", hf, ckpt.dir / "empty"], ["empty", "it exists"]),
        (["import", step, out], ["step-00000002", "tessera-ckpt export", "--resume"]),
        (["import", nan, out], ["nan", norm, "1 values of 32"]),
        (["import", shape, out], ["shape", norm]),
        (["import", cut, out], ["cut/model.safetensors"]),
        (["init", ckpt.dir / "none.json", out], ["none.json"]),
        (["init", gpt2 / "config.json", out], ["gpt2", "model_type"]),
        (["init", hf / "config.json", ckpt.dir / "empty"], ["empty", "it exists"]),
        (["init", hf / "config.json", out, "--seed", "-1"], ["--seed"]),
        (["init", huge, out], ["huge.json", "this machine's memory"]),
    ]
    before = ckpt.files()
    for arguments, texts in cases:
        done = ckpt.run(*arguments)
        name = " ".join(map(str, arguments))
        check(done.returncode == 2, f"{name}: exit code {done.returncode}, not 2", done.stdout + done.stderr)
        for text in texts:
            check(text in done.stderr, f"{name}: the message lacks {text!r}", done.stderr)
        check(not done.stdout and len(done.stderr.splitlines()) <= 24, f"{name}: not one screen", done.stderr)
        check(ckpt.files() == before, f"{name}: something was written: {set(ckpt.files()) ^ set(before)}")

    # A disk that is full (a file size limit answers the same way), also below folders that must be made.
    for arguments in (["export", hf, ckpt.dir / "deep/er/out"], ["export", step, out, "--max-shard-size", "6000"],
                      ["import", hf, out], ["init", hf / "config.json", out]):
        done = ckpt.run(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
        check(done.returncode == 2 and "room to write" in done.stderr and "safetensors" in done.stderr,
              f"full disk: {arguments}: exit code {done.returncode}", done.stderr)
        check(ckpt.files() == before, f"full disk: {set(ckpt.files()) ^ set(before)}")

    for arguments in (["--help"], ["inspect", "--help"], ["export", "--help"], ["import", "--help"],
                      ["init", "--help"]):
        text = ckpt.good(*arguments)
        check("Usage" in text and all(len(line) <= 200 for line in text.splitlines()), f"{arguments}", text)
    check(re.fullmatch(r"tessera-ckpt \d+\.\d+\.\d+\n", ckpt.good("--version")), "--version")


def checksums(report):
    return {tensor["name"]: tensor["stats"]["xxh64"] for tensor in report["tensors"]}


def case_chain(ckpt):
    """Train, export, inspect, import, train on: the weights are the same to the bit all along."""
    bench = ckpt.bench
    step = ckpt.checkpoint("run", 8, "--mesh", "1x2")
    trained = checksums(ckpt.inspect(step, "--stats"))
    check(len(set(trained.values())) > 10, "checksums differ between tensors")
    tokenizer = ckpt.dir / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text('{"model": {}}')
    (tokenizer / "notes.txt").write_text("not a tokenizer's")
    ckpt.good("export", step, ckpt.dir / "hf", "--max-shard-size", "20KB", "--tokenizer", tokenizer)
    check(len(list((ckpt.dir / "hf").glob("*.safetensors"))) > 2, "shards")
    check(checksums(ckpt.inspect(ckpt.dir / "hf", "--stats")) == trained, "export changed the weights")
    check(checksums(ckpt.inspect(ckpt.dir / "run/export", "--stats")) == trained, "the trainer exports the same")
    out = ckpt.good("import", ckpt.dir / "hf", ckpt.dir / "start")
    check("start:" in out and "F32" in out, "import says what it wrote", out)
    check(sorted(p.name for p in (ckpt.dir / "start").iterdir()) ==
          ["config.json", "model.safetensors", "tokenizer.json"], "import: one file, the tokenizer along")
    check(checksums(ckpt.inspect(ckpt.dir / "start", "--stats")) == trained, "import changed the weights")

    short = ["--steps", 3, "--warmup", 0]
    bench.train("on", 2, "--model", ckpt.dir / "start", *short)
    bench.train("on_export", 2, "--model", ckpt.dir / "run/export", *short)
    first, untrained = bench.losses("on"), bench.losses("run")[1]
    check(first == bench.losses("on_export"), "a start from an import is a start from the export")
    check(first[1] < untrained - 0.5, f"training goes on: {first[1]} after {untrained}")
    check((ckpt.dir / "on/export/tokenizer.json").exists(), "the trainer takes the tokenizer along")
    bench.train("run", 2, "--steps", 10, "--resume", "latest")  # the checkpoint was only read

    # Half the bytes: each weight moves by at most 2^-9 of itself, so the loss hardly moves.
    ckpt.good("export", step, ckpt.dir / "bf16", "--type", "bf16")
    bench.train("on_bf16", 2, "--model", ckpt.dir / "bf16", *short)
    check(0 < abs(bench.losses("on_bf16")[1] - first[1]) < 0.05, f"bf16: {bench.losses('on_bf16')} and {first}")
    size = lambda name: (ckpt.dir / name / "model.safetensors").stat().st_size
    check(size("bf16") < 0.6 * size("start"), "bf16 takes half the bytes")

    # A seeded start, written and read, is the seeded start.
    for seed in (1, 7):
        ckpt.good("init", ckpt.dir / "config.json", ckpt.dir / f"init{seed}", "--seed", seed)
        bench.train(f"from_init{seed}", 1, "--model", ckpt.dir / f"init{seed}", "--seed", seed, *short)
        bench.train(f"from_seed{seed}", 1, "--seed", seed, *short)
        check(bench.losses(f"from_init{seed}") == bench.losses(f"from_seed{seed}"), f"init --seed {seed}")
    check(bench.losses("from_init1") != bench.losses("from_init7"), "the seed matters")


def case_killed(ckpt):
    """A directory is there whole or not at all, whenever the program is killed."""
    config = ckpt.dir / "large.json"
    config.write_text(json.dumps({**CONFIG, "vocab_size": 100_000, "hidden_size": 64}))  # 51 MB of weights
    whole = 0
    for number, delay_s in enumerate((0.0, 0.02, 0.05, 0.1, 0.2, 5.0)):
        target = ckpt.dir / f"killed{number}"
        job = subprocess.Popen([ckpt.program, "init", config, target, "--max-shard-size", "4MB"],
                               stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not list(ckpt.dir.glob(f"killed{number}*")) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(delay_s)
        job.send_signal(signal.SIGKILL)
        job.wait()
        if target.exists():
            ckpt.good("inspect", target, "--stats")
            whole += 1
    print(f"killed: {whole} of 6 were done before")
    check(whole < 6, "no one was killed in time")


CASES = {name[5:]: function for name, function in globals().items() if name.startswith("case_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--train", required=True, help="tessera-train")
    parser.add_argument("--case", required=True, choices=sorted(CASES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tessera_ckpt_") as directory:
        try:
            CASES[args.case](Ckpt(args, directory))
        except Failure as failure:
            print(f"FAILED {args.case}: {failure}")
            return 1
    print(f"{args.case}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
