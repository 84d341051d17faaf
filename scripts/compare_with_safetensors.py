#!/usr/bin/env python3
"""Holds tessera-ckpt against the Python package safetensors, PyTorch's rounding and transformers, from outside.

What Python writes (F32, BF16, F16, one file and shards; every 16-bit pattern, and fp32 of all magnitudes) is read,
inspected, exported and imported by tessera-ckpt; what tessera-ckpt writes is read by Python. Values are compared
bit by bit, a NaN with any NaN.

Needs torch, safetensors and transformers. Exit status: 0 equal, 1 different, 2 wrong usage.

  python3 scripts/compare_with_safetensors.py --program build/mpi/bin/tessera-ckpt
  python3 scripts/compare_with_safetensors.py --program build/mpi/bin/tessera-ckpt --model runs/quickstart/export
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

transformers.utils.logging.disable_progress_bar()
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
CONFIG = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              vocab_size=1280, max_position_embeddings=128, tie_word_embeddings=False)


class Different(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Different(message)


def same_bits(a, b):
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    words = torch.int32 if a.dtype == torch.float32 else torch.int16
    return bool(((a.view(words) == b.view(words)) | (a.isnan() & b.isnan())).all())


def read(directory):
    """Through the package alone."""
    index = directory / "model.safetensors.index.json"
    place = json.loads(index.read_text())["weight_map"] if index.exists() else None
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                require(place is None or place[name] == path.name, f"{index}: {name} is not in {place}")
                tensors[name] = file.get_tensor(name)
    require(place is None or place.keys() == tensors.keys(), f"{index}: not the tensors of the files")
    return tensors


def write(directory, tensors, config, shards):
    directory.mkdir()
    config.save_pretrained(directory)
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    place = {}
    for shard in range(shards):
        part = {name: tensors[name] for name in list(tensors)[shard::shards]}
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file(part, directory / file, metadata={"format": "pt"})
        place |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": place}))


def made_models():
    """(name, tensors): every pattern of each 16-bit type, and fp32 from the smallest subnormal to the top of F16."""
    config = transformers.LlamaConfig(**CONFIG)
    generator = torch.Generator().manual_seed(1)
    for name, dtype in DTYPES.items():
        model = transformers.LlamaForCausalLM(config).state_dict()
        tensors = {key: value.to(dtype).contiguous() for key, value in model.items()}
        flat = tensors["model.embed_tokens.weight"].view(-1)
        if dtype == torch.float32:
            exponents = torch.rand(flat.numel(), generator=generator) * 164 - 149
            mantissas = 1 + torch.rand(flat.numel(), generator=generator)
            flat.copy_(torch.exp2(exponents.floor()) * mantissas * (1 - 2 * (torch.arange(flat.numel()) % 2)))
            # Halves of the last bit of each type, and beside them: ties go to even.
            ties = 1 + torch.arange(4096, dtype=torch.float64) / 4096
            flat[:4096] = ties.float()
            flat[4096:8192] = (ties + 2**-20).float()
        else:
            patterns = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
            flat[:65536] = patterns.view(dtype)
        yield name, tensors, config


class Program:
    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True)
        require(done.returncode == 0, f"{arguments}: {done.stderr}")
        return done.stdout


def compare_inspection(program, directory, tensors):
    report = json.loads(program("inspect", directory, "--json", "--stats"))
    found = {tensor["name"]: tensor for tensor in report["tensors"]}
    require(found.keys() == tensors.keys(), f"{directory}: other tensors")
    for name, tensor in tensors.items():
        stats, finite = found[name]["stats"], tensor[tensor.isfinite()].double()
        require(found[name]["shape"] == list(tensor.shape), f"{name}: shape")
        require((stats["min"], stats["max"]) == (finite.min().item(), finite.max().item()), f"{name}: range {stats}")
        require(stats["non_finite"] == tensor.numel() - finite.numel(), f"{name}: non-finite values")
        # Sums of n doubles in two orders differ by at most n 2^-53 of the sum of magnitudes.
        require(abs(stats["mean"] - finite.mean().item()) <= finite.numel() * 2.0**-52 * finite.abs().mean().item(),
                f"{name}: mean {stats['mean']}, PyTorch {finite.mean().item()}")
    return len(found)


def compare_written(program, source, tensors, scratch, label):
    """tessera-ckpt export, in each type and two sizes of file, against PyTorch's own conversion."""
    written = 0
    for type_name, dtype in DTYPES.items():
        for size in ("5GiB", "64KB"):
            wanted = {name: tensor.to(torch.float32).to(dtype) for name, tensor in tensors.items()}
            fits = all((w.isinf() == t.isinf()).all() for w, t in zip(wanted.values(), tensors.values()))
            target = scratch / f"{label}_{type_name}_{size}"
            if not fits:
                done = subprocess.run([program.path, "export", source, target, "--type", type_name],
                                      capture_output=True, text=True)
                require(done.returncode == 2 and not target.exists(), f"{target}: an overflow was not refused")
                continue
            program("export", source, target, "--type", type_name, "--max-shard-size", size)
            got = read(target)
            require(got.keys() == tensors.keys(), f"{target}: other tensors")
            for name in tensors:
                require(same_bits(got[name], wanted[name]), f"{target}: {name} differs")
            loaded = transformers.LlamaForCausalLM.from_pretrained(target, dtype="auto").state_dict()
            for name in tensors:
                require(same_bits(loaded[name], wanted[name]), f"{target}: {name} differs in transformers")
            written += 1
    return written


def compare_model(program, source, tensors, scratch, label):
    count = compare_inspection(program, source, tensors)
    written = compare_written(program, source, tensors, scratch, label)
    finite = all(tensor.isfinite().all() for tensor in tensors.values())
    target = scratch / f"{label}_imported"
    done = subprocess.run([program.path, "import", source, target], capture_output=True, text=True)
    require((done.returncode == 0) == bool(finite), f"{label}: import: {done.stderr}")
    if finite:
        got = read(target)
        require(all(same_bits(got[name], tensors[name].float()) for name in tensors), f"{label}: import differs")
    print(f"equal: {label}: {count} tensors inspected, {written} exports read back, "
          f"{'imported' if finite else 'import refused: not all finite'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="tessera-ckpt")
    parser.add_argument("--model", type=pathlib.Path, help="a Hugging Face directory instead of made ones")
    arguments = parser.parse_args()
    program = Program(arguments.program)
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        try:
            if arguments.model:
                tensors = read(arguments.model)
                compare_model(program, arguments.model, tensors, scratch, arguments.model.name)
                return 0
            for type_name, tensors, config in made_models():
                for shards in (1, 3):
                    label = f"{type_name}_in_{shards}"
                    write(scratch / label, tensors, config, shards)
                    compare_model(program, scratch / label, tensors, scratch, label)
        except Different as difference:
            print(f"DIFFERENT: {difference}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
