#!/usr/bin/env python3
"""One training step of the same model on the same cores: Tessera against PyTorch, alternating, in one run.

Needs an interpreter with torch and transformers; nothing else of Tessera does:
  python3 -m venv venv && venv/bin/pip install torch transformers
  venv/bin/python tests/bench/train_step_vs_pytorch.py --threads 2

Both sides: fp32, forward + backward + clip + AdamW of a LlamaForCausalLM, the same batch and length.
PyTorch runs with SDPA attention, fused AdamW, and a malloc that keeps its pages and asks for huge ones:
without that it spends most of a step on first touches. Prints the median step of each round and the ratio.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(256 << 20),
          "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def torch_step_seconds(args):
    import time

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    config = LlamaConfig.from_json_file(args.model)
    config._attn_implementation = "sdpa"
    config.use_cache = False
    model = LlamaForCausalLM(config).float()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for step in range(args.warmup + args.steps):
        tokens = torch.randint(0, config.vocab_size, (args.batch, args.length))
        begin = time.perf_counter()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if step >= args.warmup:
            seconds.append(time.perf_counter() - begin)
    return seconds


def run_torch(args):
    command = [sys.executable, __file__, "--torch-worker", *sys.argv[1:]]
    out = subprocess.run(command, env={**os.environ, **MALLOC, "OMP_NUM_THREADS": str(args.threads)},
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def run_tessera(args):
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder) / "text.txt"
        text.write_bytes(bytes(32 + (i * i * 31 + 7 * i) % 95 for i in range(args.batch * (args.length + 1) * 40)))
        command = [str(args.tessera), "--model", str(args.model), "--data", str(text), "--out", folder + "/out",
                   "--steps", str(args.warmup + args.steps), "--sequence-length", str(args.length),
                   "--global-batch", str(args.batch), "--micro-batch", str(args.batch),
                   "--threads", str(args.threads), "--warmup", "1", "--eval-interval", "0",
                   "--checkpoint-interval", "0", "--log-style", "quiet"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        rows = [json.loads(line) for line in open(folder + "/out/metrics.jsonl")]
    return [row["seconds"] for row in rows if "seconds" in row][args.warmup:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "scripts/configs/model_small.json")
    parser.add_argument("--tessera", type=pathlib.Path, default=ROOT / "build/mpi/bin/tessera-train")
    parser.add_argument("--batch", type=int, default=4, help="sequences")
    parser.add_argument("--length", type=int, default=512, help="tokens per sequence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="timed steps per round")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_worker:
        print(json.dumps(torch_step_seconds(args)))
        return
    ours, theirs = [], []
    for _ in range(args.rounds):
        theirs.append(statistics.median(run_torch(args)))
        ours.append(statistics.median(run_tessera(args)))
        print(f"tessera {1e3 * ours[-1]:8.1f} ms   pytorch {1e3 * theirs[-1]:8.1f} ms   "
              f"ratio {theirs[-1] / ours[-1]:.2f}")
    print(f"{args.model.name}, batch {args.batch} x {args.length} tokens, {args.threads} threads: "
          f"best of {args.rounds} medians {1e3 * min(ours):.1f} ms against {1e3 * min(theirs):.1f} ms, "
          f"tessera is {min(theirs) / min(ours):.2f} times as fast")


if __name__ == "__main__":
    main()
