#!/usr/bin/env python3
"""Are plans as fast, and as large, as the planner says? Predicted and then really run, in one go.

For each mixed cluster of CPU ranks on this machine: tessera-profile measures the ranks, tessera-plan makes
its own plan and those of the baselines and predicts them, tessera-train runs each of them. Prints a Markdown
table: iteration time and peak memory, predicted and measured, their mean absolute errors, and whether the
order of plans was predicted.

  tests/bench/plan_truth.py --build build/mpi                 every cluster, about 7 minutes on two cores
  tests/bench/plan_truth.py --build build/mpi --clusters 2 --steps 2     a first look

Where ranks outnumber cores, every device is slowed down (--speed-factors) until all of them together ask for
less than the cores can give: a rank that pauses after its work leaves the core to others, and what it lost to
others counts as paused. So a device is as fast as it says, whatever its neighbours do. The profile is measured
by as many ranks, each that slow. Other work on the machine spoils the figures.
"""
import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "scripts/launch/local.sh"
SYSTEMS = ("tessera", "megatron", "whale")

# Nodes of a cluster as (devices, speed), and the room that each device has for the job, MB: 0 means plenty; less
# than 60 forces pipelines, since one device then cannot hold the model and its training state.
CLUSTERS = {
    "4: 2x1 + 2x1/2": ([(2, 1), (2, 1 / 2)], 0),
    "4: 1x1 + 3x1/3": ([(1, 1), (3, 1 / 3)], 45),
    "4: 3x1 + 1x1/4": ([(3, 1), (1, 1 / 4)], 45),
    "4: 2x1 + 1x2/3 + 1x1/3": ([(2, 1), (1, 2 / 3), (1, 1 / 3)], 48),
    "5: 2x1 + 3x1/2": ([(2, 1), (3, 1 / 2)], 45),
    "6: 2x1 + 4x1/2": ([(2, 1), (4, 1 / 2)], 45),
    "6: 3x1 + 3x1/3": ([(3, 1), (3, 1 / 3)], 0),
    "6: 2x1 + 2x1/2 + 2x1/4": ([(2, 1), (2, 1 / 2), (2, 1 / 4)], 42),
    "8: 4x1 + 4x1/2": ([(4, 1), (4, 1 / 2)], 45),
    "8: 2x1 + 3x1/2 + 3x1/4": ([(2, 1), (3, 1 / 2), (3, 1 / 4)], 42),
}

MODEL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 192,
         "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 6,
         "head_dim": 32, "vocab_size": 256, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "initializer_range": 0.02, "tie_word_embeddings": False}
# Gigaflops are what Whale-like balancing goes by; their ratio is all that matters, and the speeds give it.
DEVICE = {"name": "CPU rank", "kind": "cpu", "gflops": 10, "memory_gb": 4, "memory_gb_per_s": 4}


# Of a core, what the ranks on it may ask for together: the rest is for messages and for uneven turns.
CORE_USE = 0.8


class Machine:
    """Cores, the speed of a device on them, and the environment that programs run in."""

    def __init__(self, cores):
        self.cores = sorted(os.sched_getaffinity(0))[:cores or None]
        # A message leaves without its sender's help while that computes: one copy into shared memory.
        self.environment = {**os.environ, "OMPI_MCA_btl_vader_eager_limit": "1048576",
                            "OMPI_MCA_btl_vader_max_send_size": "1048576"}

    def speed(self, speeds):
        """Of a device of speed 1 in a cluster of such speeds: together they use CORE_USE of the cores."""
        return min(1, CORE_USE * len(self.cores) / sum(speeds))

    def run(self, ranks, program, arguments):
        cores = ",".join(map(str, self.cores))
        command = [str(LAUNCH), "-np", str(ranks), "taskset", "-c", cores, str(program), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout


class NoPlan(Exception):
    """Nothing in a system's space of plans fits the devices."""


def plan_tool(args, *arguments):
    done = subprocess.run([str(args.build / "bin/tessera-plan"), *map(str, arguments)], capture_output=True, text=True)
    if "error: no plan" in done.stderr:
        raise NoPlan(done.stderr.splitlines()[0])
    if done.returncode != 0:
        raise SystemExit(f"tessera-plan {' '.join(map(str, arguments))}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1))
    return path


def cluster_json(nodes, memory_gb=DEVICE["memory_gb"]):
    device = {**DEVICE, "memory_gb": memory_gb}
    return {"nodes": [{"name": f"n{i}", "gpu": device, "count": count, "speed": speed, "network_gb_per_s": 1}
                      for i, (count, speed) in enumerate(nodes)]}


def profile(args, machine, folder, ranks, speed):
    """As many ranks as the cluster has devices, all measuring at once, each as slow as the fastest of them."""
    out = folder / f"profile{ranks}-{speed:.3f}.json"
    text = machine.run(ranks, args.build / "bin/tessera-profile",
                       ["--model", str(folder / "config.json"), "--device", DEVICE["name"], "--plays-nodes", "--speed", f"{speed:.9g}",
                        "--sequence-length", str(args.length),
                        "--micro-batch", ",".join(map(str, args.micro_batch)), "--recompute", "none",
                        "--rounds", str(args.rounds), "--round-seconds", str(args.round_seconds), "--out", str(out)])
    if args.verbose:
        print(text, file=sys.stderr)
    return out


def make_plans(args, folder, files):
    """Distinct plans of the three systems: [(names, path)]."""
    plans = []
    for system in SYSTEMS:
        path = folder / f"{system}.json"
        try:
            plan_tool(args, "plan", *files, "--global-batch", args.batch, "--sequence-length", args.length,
                      "--tensor-parallel", 1, "--micro-batch", *args.micro_batch, "--recompute", "none",
                      "--system", system, "--out", path, "--json")
        except NoPlan as reason:
            print(f"no plan of {system}: {reason}", file=sys.stderr)
            continue
        what = json.loads(path.read_text())
        what = json.dumps([what["micro_batch"], [[g["micro_batches"], [[s["devices"], s["first_layer"], s["layers"]]
                                                                     for s in g["stages"]]] for g in what["groups"]]])
        same = next((p for p in plans if p["what"] == what), None)
        if same:
            same["names"].append(system)
        else:
            plans.append({"names": [system], "path": path, "what": what})
    return plans


def run_plan(args, machine, folder, plan, nodes):
    """Measured: median step seconds, and per rank what buffers and the process took at most."""
    number = {f"n{i}": i for i in range(len(nodes))}
    value = json.loads(plan["path"].read_text())
    names = [number[node["name"]] for node in value["nodes"]]
    devices = [names[slot["node"] if isinstance(slot, dict) else slot[0]]
               for group in value["groups"] for stage in group["stages"] for slot in stage["devices"]]
    speeds = [f"{nodes[node][1]:.9g}" for node in devices]
    out = folder / "run"
    machine.run(len(devices), args.build / "bin/tessera-train",
                ["--plan", str(plan["path"]), "--model", str(folder / "config.json"),
                 "--data", str(folder / "text.txt"), "--out", str(out), "--overwrite", "on",
                 "--steps", str(args.steps + args.warmup), "--warmup", "1", "--global-batch", str(args.batch),
                 "--sequence-length", str(args.length), "--eval-interval", "0", "--checkpoint-interval", "0",
                 "--export-dir", "none", "--tensorboard-dir", "none", "--log-style", "quiet",
                 "--speed-factors", ",".join(speeds)])
    rows = [json.loads(line) for line in open(out / "metrics.jsonl")]
    seconds = [row["seconds"] for row in rows if "seconds" in row][args.warmup:]
    ranks = json.loads((out / "report.json").read_text())["ranks"]
    return (statistics.median(seconds), [r["peak_memory_bytes"] for r in ranks],
            [r["resident_bytes"] for r in ranks])


def error(predicted, measured):
    return 100 * (predicted - measured) / measured


def mean_absolute(values):
    values = list(values)
    return sum(map(abs, values)) / len(values) if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/mpi")
    parser.add_argument("--clusters", type=int, default=len(CLUSTERS), help="the first so many")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each plan")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--batch", type=int, default=12, help="sequences per step")
    parser.add_argument("--length", type=int, default=256, help="tokens per sequence")
    parser.add_argument("--micro-batch", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--round-seconds", type=float, default=0.5)
    parser.add_argument("--cores", type=int, default=0, help="use only the first so many; 0: all")
    parser.add_argument("--json", type=pathlib.Path, help="also write every figure")
    parser.add_argument("--verbose", action="store_true", help="what tessera-profile says, to stderr")
    args = parser.parse_args()
    args.build = args.build.resolve()
    machine = Machine(args.cores)
    begin = time.time()
    load = os.getloadavg()[0]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_json(folder / "config.json", MODEL)
        text = bytes(32 + (i * i * 31 + 7 * i) % 95 for i in range(args.batch * args.length * 20))
        (folder / "text.txt").write_bytes(text)
        print("| cluster | plan of | shape | iteration predicted | measured | error "
              "| peak memory predicted | measured | error |")
        print("|---|---|---|---:|---:|---:|---:|---:|---:|")
        for label, (nodes, room) in list(CLUSTERS.items())[:args.clusters]:
            full = machine.speed([speed for count, speed in nodes for _ in range(count)])
            profiled = profile(args, machine, folder, sum(count for count, _ in nodes), full)
            base = json.loads(profiled.read_text())["devices"][DEVICE["name"]]["base_bytes"]
            nodes = [(count, speed * full) for count, speed in nodes]
            memory_gb = room / 1e3 + base / 1e9 if room else DEVICE["memory_gb"]
            cluster = write_json(folder / "cluster.json", cluster_json(nodes, memory_gb))
            files = ("--model", folder / "config.json", "--cluster", cluster, "--profile", profiled)
            plans = make_plans(args, folder, files)
            missing = set(SYSTEMS) - {name for plan in plans for name in plan["names"]}
            for system in sorted(missing):
                print(f"| {label} | {system} | none fits | | | | | | |")
            for plan in plans:
                said = plan_tool(args, "evaluate", "--plan", plan["path"], *files, "--json")
                measured, buffers, resident = run_plan(args, machine, folder, plan, nodes)
                # Ranks of a plan come stage after stage, one each.
                peaks = [stage["peak_bytes"] for stage in said["stages"]]
                shape = "+".join(f"{len(g['stages'])}" for g in json.loads(plan["path"].read_text())["groups"])
                row = {"cluster": label, "plan": " = ".join(plan["names"]), "names": plan["names"], "shape": shape,
                       "predicted_s": said["iteration_s"], "measured_s": measured,
                       "predicted_bytes": peaks, "buffer_bytes": buffers, "resident_bytes": resident,
                       "base_bytes": base}
                rows.append(row)
                print(f"| {label} | {row['plan']} | stages {shape} | {said['iteration_s']:.3f} s | {measured:.3f} s | "
                      f"{error(said['iteration_s'], measured):+.1f} % | {max(peaks) / 1e6:.1f} MB | "
                      f"{max(buffers) / 1e6:.1f} MB | {error(max(peaks), max(buffers)):+.1f} % |", flush=True)
    summary(rows)
    print(f"{len(machine.cores)} cores, {time.time() - begin:.0f} s in all; load average before it {load:.1f}"
          + ("." if load < 0.5 else ": other work was running, the figures above are spoiled."))
    if args.json:
        write_json(args.json, rows)


def summary(rows):
    print()
    times = [error(r["predicted_s"], r["measured_s"]) for r in rows]
    memory = [error(p, m) for r in rows for p, m in zip(r["predicted_bytes"], r["buffer_bytes"])]
    resident = [error(p + r["base_bytes"], m) for r in rows for p, m in zip(r["predicted_bytes"], r["resident_bytes"])]
    print(f"Iteration time: mean absolute error {mean_absolute(times):.1f} % over {len(times)} plans, "
          f"worst {max(times, key=abs):+.1f} %, mean {statistics.mean(times):+.1f} %.")
    print(f"Peak memory, each rank: mean absolute error {mean_absolute(memory):.1f} % of what buffers took, "
          f"{mean_absolute(resident):.1f} % of the resident process with the profile's base bytes.")
    right = close = wrong = 0
    slower = []
    for _, of_cluster in itertools.groupby(rows, key=lambda r: r["cluster"]):
        of_cluster = list(of_cluster)
        for a, b in itertools.combinations(of_cluster, 2):
            if abs(a["predicted_s"] / b["predicted_s"] - 1) < 0.05:
                close += 1
            elif (a["predicted_s"] < b["predicted_s"]) == (a["measured_s"] < b["measured_s"]):
                right += 1
            else:
                wrong += 1
        own = next((r for r in of_cluster if "tessera" in r["names"]), None)
        for other in of_cluster if own else []:
            said = other["predicted_s"] / own["predicted_s"]
            if said > 1.1:
                slower.append((said, other["measured_s"] / own["measured_s"]))
    print(f"Order of plans: {right} pairs right, {wrong} wrong, {close} predicted within 5 % and not judged.")
    if slower:
        print(f"Where the plan of tessera is predicted more than 10 % faster: measured faster in "
              f"{sum(measured > 1 for _, measured in slower)} of {len(slower)}; predicted "
              f"{statistics.geometric_mean(s for s, _ in slower):.2f}x on average, measured "
              f"{statistics.geometric_mean(m for _, m in slower):.2f}x, at best {max(m for _, m in slower):.2f}x.")


if __name__ == "__main__":
    main()
