#!/usr/bin/env python3
"""How tessera-plan grows with the cluster: seconds, memory and gap of one plan for Llama 2 70B.

  tests/bench/plan_growth.py --build build/mpi                       64 to 8,192 devices, some minutes
  tests/bench/plan_growth.py --build build/mpi --devices 64 128      a first look

Nodes of eight, as many of each of the types; 2 sequences of 4096 tokens per step and device, at least 1024. The
limit is of the search; the baselines' plans, which are refined too, and the simulation come on top. Prints a Markdown
table.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = 8
# GB/s of a node's network.
TYPES = {"A100-40": 25, "H800": 50, "H20": 50, "L40S": 12.5, "RTX 4090": 12.5}


def cluster(devices, types):
    nodes = devices // NODE
    per_type = [nodes // len(types) + (i < nodes % len(types)) for i in range(len(types))]
    return {"nodes": [{"name": f"{gpu}-{n}", "gpu": gpu, "count": NODE, "network_gb_per_s": TYPES[gpu]}
                      for gpu, count in zip(types, per_type) for n in range(count)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/mpi")
    parser.add_argument("--devices", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 8192],
                        help="multiples of 8")
    parser.add_argument("--types", nargs="+", choices=list(TYPES), default=["A100-40", "H800", "H20"])
    parser.add_argument("--time-limit", type=float, default=40, help="seconds of search")
    args = parser.parse_args()
    if any(devices % NODE for devices in args.devices):
        parser.error(f"--devices: multiples of {NODE}")
    print("| devices | seconds | processor s | memory MB | step s | gap |\n|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cluster.json"
        for devices in sorted(args.devices):  # the memory of a child is the largest so far
            path.write_text(json.dumps(cluster(devices, args.types)))
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
            done = subprocess.run([args.build / "bin/tessera-plan", "plan", "--model",
                                   ROOT / "planner/examples/llama_70b.json", "--cluster", path, "--sequence-length",
                                   "4096", "--global-batch", str(max(1024, 2 * devices)), "--time-limit",
                                   str(args.time_limit), "--json"], capture_output=True, text=True)
            seconds, after = time.time() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
            if done.returncode != 0:
                raise SystemExit(f"{devices} devices: {done.stderr}")
            plan = json.loads(done.stdout)
            processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"| {devices:,} | {seconds:.1f} | {processor:.1f} | {after.ru_maxrss / 1024:.0f} | "
                  f"{plan['iteration_s']:.2f} | {100 * plan['gap']:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
