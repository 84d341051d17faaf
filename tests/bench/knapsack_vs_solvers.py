#!/usr/bin/env python3
"""Which activations to keep under a byte budget: tessera-algos knapsack solve against general solvers, one run.

Peers: SciPy's milp (HiGHS), CBC, GLPK, and the table over rounded memory that recompute planners use (each
weight rounded to 1/10,000 of the total; PyTorch's dp_knapsack). Debian: python3-scipy coinor-cbc glpk-utils; a
peer that is not installed is left out.

Seconds are CPU seconds, because other work on the machine moves wall time: of the solver alone for ours, SciPy
and the table; CBC and GLPK include starting a process and reading the file, and so does the line `ours, process`.
`value` is a peer's value over ours; a selection over the budget is not an answer, and its value is no measure.

  tests/bench/knapsack_vs_solvers.py --algos build/mpi/bin/tessera-algos --sizes 100 1000 5000 20000
"""
import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

try:
    from scipy.optimize import Bounds, LinearConstraint, milp
except ImportError:
    milp = None

TABLE_STEPS = 10_000


def instance(n, seed):
    """Activations: bytes spread over two orders of magnitude, nanoseconds to recompute not quite proportional."""
    rng = np.random.default_rng([n, seed])
    weight = np.rint(32e6 * np.exp(rng.normal(0, 1, n))).astype(np.int64)
    profit = np.rint(2000 + 0.02 * weight * np.exp(rng.normal(0, 0.7, n))).astype(np.int64)
    return profit, weight, int(weight.sum()) // 2


def cpu_of(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def ours(args, profit, weight, budget, folder):
    path = os.path.join(folder, "items.csv")
    np.savetxt(path, np.column_stack([profit, weight]), fmt="%d", delimiter=",")
    seconds, out = cpu_of([args.algos, "knapsack", "solve", path, "--capacity", str(budget), "--json"])
    answer = json.loads(out)
    chosen = np.array(answer["chosen"], dtype=np.int64)
    assert weight[chosen].sum() <= budget and profit[chosen].sum() == answer["profit"]
    return seconds, answer["cpu_seconds"], chosen, answer


def highs(args, profit, weight, budget, folder):
    start = time.process_time()
    result = milp(-profit.astype(float), constraints=LinearConstraint(weight[None, :].astype(float), -np.inf, budget),
                  bounds=Bounds(0, 1), integrality=np.ones(len(profit)), options={"time_limit": args.time_limit})
    seconds = time.process_time() - start
    return seconds, None if result.x is None else np.flatnonzero(result.x > 0.5)


def write_lp(path, profit, weight, budget):
    # Megabytes and microseconds: the solvers' tolerances are absolute. Twelve digits keep each byte.
    def terms(values, unit):
        return "\n".join(f" + {v / unit:.12g} x{i}" for i, v in enumerate(values))
    with open(path, "w", encoding="ascii") as file:
        file.write(f"Maximize\n obj:\n{terms(profit, 1e3)}\nSubject To\n memory:\n{terms(weight, 1e6)}\n"
                   f" <= {budget / 1e6:.15g}\nBinary\n" + "\n".join(f" x{i}" for i in range(len(profit))) + "\nEnd\n")


def cbc(args, profit, weight, budget, folder):
    model, solution = os.path.join(folder, "model.lp"), os.path.join(folder, "cbc.txt")
    write_lp(model, profit, weight, budget)
    seconds, _ = cpu_of(["cbc", model, "sec", str(args.time_limit), "solve", "solu", solution])
    with open(solution, encoding="ascii") as file:
        return seconds, np.array([int(m[1]) for m in re.finditer(r"^\s*\d+\s+x(\d+)\s+(?:1|0\.99\S*)\s", file.read(), re.M)],
                                 dtype=np.int64)


def glpk(args, profit, weight, budget, folder):
    model, solution = os.path.join(folder, "model.lp"), os.path.join(folder, "glpk.txt")
    write_lp(model, profit, weight, budget)
    seconds, _ = cpu_of(["glpsol", "--lp", model, "--tmlim", str(args.time_limit), "-w", solution])
    columns = []
    with open(solution, encoding="ascii") as file:
        columns = [int(line.split()[1]) - 1 for line in file if line.startswith("j ") and line.split()[2] == "1"]
    # Columns are numbered in the order of first appearance, which is that of the objective.
    return seconds, np.array(columns, dtype=np.int64)


def rounded_table(args, profit, weight, budget, folder):
    start = time.process_time()
    total = weight.sum()
    steps = np.rint(weight / total * TABLE_STEPS).astype(np.int64)
    room = int(round(budget / total * TABLE_STEPS))
    best = np.zeros(room + 1)
    taken = np.zeros((len(profit), room + 1), dtype=bool)
    for i, (p, s) in enumerate(zip(profit.astype(float), steps)):
        if s > room:
            continue
        candidate = best[:room + 1 - s] + p
        taken[i, s:] = candidate > best[s:]
        best[s:] = np.maximum(best[s:], candidate)
    chosen, left = [], room
    for i in range(len(profit) - 1, -1, -1):
        if taken[i, left]:
            chosen.append(i)
            left -= steps[i]
    return time.process_time() - start, np.array(chosen, dtype=np.int64)


PEERS = {
    "HiGHS": (highs, lambda: milp is not None),
    "CBC": (cbc, lambda: shutil.which("cbc")),
    "GLPK": (glpk, lambda: shutil.which("glpsol")),
    "rounded table": (rounded_table, lambda: True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", default="build/mpi/bin/tessera-algos")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000, 20000])
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--time-limit", type=int, default=600, help="wall seconds for each peer and instance")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    args = parser.parse_args()
    peers = {name: PEERS[name][0] for name in args.peers if PEERS[name][1]()}
    print("| n | solver | CPU s | ours is faster by | value | worst over budget | proven |\n|---:|---|---:|---:|---:|---:|---:|")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for n in args.sizes:
            rows = {name: [] for name in ["ours", "ours, process", *peers]}
            for seed in range(args.instances):
                profit, weight, budget = instance(n, seed)
                process_seconds, seconds, chosen, answer = ours(args, profit, weight, budget, folder)
                value = profit[chosen].sum()
                rows["ours"].append((seconds, 1.0, 0.0, answer["proven"]))
                rows["ours, process"].append((process_seconds, 1.0, 0.0, answer["proven"]))
                for name, solver in peers.items():
                    peer_seconds, chosen = solver(args, profit, weight, budget, folder)
                    if chosen is None:
                        rows[name].append((peer_seconds, None, 0.0, False))
                        continue
                    over = max(0.0, weight[chosen].sum() / budget - 1)
                    share = profit[chosen].sum() / value
                    # Within the budget nothing may be richer than a proven optimum, or than the certificate.
                    failed |= over == 0 and profit[chosen].sum() > answer["upper_bound"]
                    failed |= over == 0 and share > 1
                    rows[name].append((peer_seconds, share, over, False))
            base = sum(row[0] for row in rows["ours"])
            for name, row in rows.items():
                seconds = sum(r[0] for r in row)
                proven = f"{sum(r[3] for r in row)}/{len(row)}" if name.startswith("ours") else ""
                values = [r[1] for r in row]
                value = "none in time" if None in values else f"{min(values):.7f}"
                print(f"| {n} | {name} | {seconds / len(row):.4g} | {seconds / base:.1f} | {value} | {100 * max(r[2] for r in row):.4f} % | {proven} |", flush=True)
    if failed:
        print("a peer found more within the budget", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
