#!/usr/bin/env python3
"""PyTorch's times for what cuda-bench measures, on the same card, as rows of the same JSON.

    pytorch_gpu.py --json OUT [--device cpu --small]    the latter checks this script; its times mean nothing

Products through torch.matmul (cuBLASLt), attention through scaled_dot_product_attention, forward and backward.
"""
import argparse
import json
import statistics
import time

import torch

ROUNDS = 7


def measure(run, device):
    run()
    seconds = []
    for _ in range(ROUNDS):
        if device == "cuda":
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            stop.record()
            stop.synchronize()
            seconds.append(start.elapsed_time(stop) * 1e-3)
        else:
            begin = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def products(tokens, width_in, width_out, device):
    def random(*shape):
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    x, w, y = random(tokens, width_in), random(width_out, width_in), random(tokens, width_out)
    size = f"{tokens} x {width_in} x {width_out}, PyTorch"
    flops = 2 * tokens * width_in * width_out
    for name, run in ((f"y = x W' {size}", lambda: x @ w.T), (f"dx = dy W {size}", lambda: y @ w),
                      (f"dW = dy' x {size}", lambda: y.T @ x)):
        yield {"kernel": name, "seconds": measure(run, device), "bytes": 0, "flops": flops}


def attention(tokens, heads, kv_heads, head_dim, causal, device):
    def random(count):
        return torch.randn((1, count, tokens, head_dim), device=device, dtype=torch.bfloat16, requires_grad=True)

    q, k, v = random(heads), random(kv_heads), random(kv_heads)
    d_out = torch.randn_like(q)

    def forward():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != kv_heads)

    out = forward()
    name = f"attention {tokens} tokens, {heads}/{kv_heads} heads of {head_dim}{', causal' if causal else ''}, PyTorch"
    flops = 4 * tokens * tokens * heads * head_dim / (2 if causal else 1)
    yield {"kernel": f"{name}, forward", "seconds": measure(forward, device), "bytes": 0, "flops": flops}
    backward = measure(lambda: torch.autograd.grad(out, (q, k, v), d_out, retain_graph=True), device)
    yield {"kernel": f"{name}, backward", "seconds": backward, "bytes": 0, "flops": 2.5 * flops}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    rows = []
    for shape in ((64, 64, 128),) if args.small else ((8192, 4096, 4096), (8192, 4096, 28672), (1024, 2048, 2048)):
        rows += products(*shape, args.device)
    for causal in (False, True):
        rows += attention(*((64, 4, 2, 64) if args.small else (8192, 32, 8, 128)), causal, args.device)
    for row in rows:
        print(f"{row['kernel']:<64} {row['seconds'] * 1e3:10.4f} ms {row['flops'] / row['seconds'] * 1e-12:9.1f} TFLOP/s")
    with open(args.json, "w") as out:
        json.dump({"device": name, "pytorch": torch.__version__, "small": args.small, "rows": rows}, out, indent=1)


if __name__ == "__main__":
    main()
