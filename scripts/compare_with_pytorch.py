#!/usr/bin/env python3
"""Holds Tessera against PyTorch and transformers, from outside.

  logits   loads a Hugging Face directory in transformers and compares its logits on random tokens with those
           of `tessera-generate --logits`. Any exported checkpoint can be checked so.
  curve    trains tests/data/curve's model on its text with torch's AdamW and writes or checks the curve
           that Tessera's tests follow.

Needs torch, transformers and numpy. Exit status: 0 equal, 1 different, 2 wrong usage.

  python3 scripts/compare_with_pytorch.py logits --model out/hf --program build/mpi/bin/tessera-generate
  python3 scripts/compare_with_pytorch.py curve --data tests/data/curve
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers
from torch.nn import functional

# Both sides compute in fp32 and add in another order; a model of tens of layers stays well below this.
LOGITS_TOLERANCE = 1e-4  # of the largest logit
# AdamW's first steps are about sign(gradient) * lr, whatever the gradient's size, so rounding in small
# gradients grows; float32 against float64 in PyTorch itself differs by about a tenth of this.
CURVE_TOLERANCE = 1e-4  # relative

SETTINGS = dict(steps=50, global_batch=4, length=128, learning_rate=1e-3, beta1=0.9, beta2=0.95, eps=1e-8,
                weight_decay=0.1, clip=1.0)


def compare_logits(arguments):
    generator = numpy.random.default_rng(arguments.seed)
    model = transformers.LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    tokens = generator.integers(0, model.config.vocab_size, arguments.tokens)
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "logits.npy"
        subprocess.run([arguments.program, "--model", arguments.model, "--max-new-tokens", "0", "--logits", path,
                        "--prompt-tokens", ",".join(map(str, tokens))], check=True)
        ours = numpy.load(path)
    with torch.no_grad():
        theirs = model(torch.tensor(tokens)[None]).logits[0].numpy()
    if ours.shape != theirs.shape:
        print(f"different shapes: ours {ours.shape}, PyTorch {theirs.shape}")
        return 1
    scale = numpy.abs(theirs).max()
    worst = numpy.abs(ours - theirs).max() / scale
    same = bool(worst <= LOGITS_TOLERANCE)
    print(f"{'equal' if same else 'DIFFERENT'}: {ours.shape[0]} tokens x {ours.shape[1]} logits, largest "
          f"difference {worst:.2e} of the largest logit {scale:.3f} (allowed {LOGITS_TOLERANCE:.0e})")
    return 0 if same else 1


class DoubleNorm(torch.nn.Module):
    """LlamaRMSNorm without its cast to float32, for the float64 run."""

    def __init__(self, norm):
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def load(data, dtype):
    model = transformers.LlamaForCausalLM.from_pretrained(data, dtype=torch.float32,
                                                          attn_implementation="eager").to(dtype)
    if dtype == torch.float64:
        for name, module in list(model.named_modules()):
            if type(module).__name__ == "LlamaRMSNorm":
                parent, _, leaf = name.rpartition(".")
                setattr(model.get_submodule(parent), leaf, DoubleNorm(module))
    return model.train()


def train(data, dtype):
    text = torch.tensor(list((data / "text.txt").read_bytes()))
    first_token = json.loads((data / "windows.json").read_text())["first_token"]
    model = load(data, dtype)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=SETTINGS["weight_decay"]), dict(params=others, weight_decay=0.0)],
        lr=SETTINGS["learning_rate"], betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"])
    losses, norms = [], []
    for step in range(SETTINGS["steps"]):
        starts = first_token[step * SETTINGS["global_batch"]:(step + 1) * SETTINGS["global_batch"]]
        windows = torch.stack([text[s:s + SETTINGS["length"] + 1] for s in starts])
        logits = model(windows[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip"]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def largest_difference(xs, ys):
    return max(abs(x - y) / abs(y) for x, y in zip(xs, ys, strict=True))


def compare_curve(arguments):
    losses, norms = train(arguments.data, torch.float32)
    exact, _ = train(arguments.data, torch.float64)
    for step, loss in enumerate(losses):
        print(f"step {step + 1:3d}  loss {loss:.6f}  gradient norm {norms[step]:.6f}")
    print(f"float32 against float64: {largest_difference(losses, exact):.2e}")
    path = arguments.data / "expected.json"
    if arguments.write:
        path.write_text(json.dumps(dict(
            command="python3 scripts/compare_with_pytorch.py curve --data tests/data/curve --write",
            made_with=f"torch {torch.__version__}, transformers {transformers.__version__}", **SETTINGS,
            weight_decay_on="matrices", loss=losses, gradient_norm=norms, loss_in_float64=exact), indent=1) + "\n")
        return 0
    difference = largest_difference(losses, json.loads(path.read_text())["loss"])
    same = difference <= CURVE_TOLERANCE
    print(f"{'equal' if same else 'DIFFERENT'}: {path} by {difference:.2e} (allowed {CURVE_TOLERANCE:.0e})")
    return 0 if same else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    logits = commands.add_parser("logits", help="an exported directory against transformers")
    logits.add_argument("--model", required=True, help="Hugging Face directory")
    logits.add_argument("--program", required=True, type=pathlib.Path, help="path of tessera-generate")
    logits.add_argument("--tokens", type=int, default=64)
    logits.add_argument("--seed", type=int, default=0)
    curve = commands.add_parser("curve", help="50 steps of AdamW")
    curve.add_argument("--data", required=True, type=pathlib.Path, help="tests/data/curve")
    curve.add_argument("--write", action="store_true", help="write expected.json instead of checking it")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    return compare_logits(arguments) if arguments.command == "logits" else compare_curve(arguments)


if __name__ == "__main__":
    sys.exit(main())
