#!/usr/bin/env python3
"""Recovery against an all-from-cloud baseline: scenarios R1 to R7 of AutoHet's recovery, bytes by source and time.

    tests/bench/recovery_scenarios.py --program build/mpi/bin/tessera-train --shape on --json scenarios.json

--shape on   four hosts as network namespaces with 1 Gbit/s each and an S3 server (moto) behind 200 Mbit/s, all
             links shaped both ways (scripts/launch/namespaces; needs root, ip, tc and the moto package)
--shape off  nodes are names of this machine and the cloud a directory: bytes are the same, times are not a
             network's, so only those that the restore plan expects of the rates above are worth reading

Of each scenario the job is saved, nodes are lost or added, and it starts again twice from the same stores: from the
nearest source, and with --recovery-sources cloud, where every node takes what it needs from the cloud. Then it
trains on, and its losses are held to those of a run that was left alone.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMESPACES = ROOT / "scripts/launch/namespaces"
MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 6, "num_attention_heads": 6,
    "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "initializer_range": 0.02,
}
SAVED, FURTHER = 2, 3  # steps before the event, and after it
NODE_GB, CLOUD_GB = 0.125, 0.025
CLOUD_KEY = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
SERVER = """
import logging, sys, boto3
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address=sys.argv[1], port=5555, verbose=False)
server.start()
boto3.client("s3", endpoint_url=f"http://{sys.argv[1]}:5555", region_name="us-east-1", aws_access_key_id="any",
             aws_secret_access_key="any").create_bucket(Bucket="state")
print("ready", flush=True)
sys.stdin.read()
"""


@dataclasses.dataclass
class Scenario:
    name: str
    event: str
    before: tuple  # (nodes by rank, flags)
    after: tuple
    lost: tuple = ()             # nodes whose memory and disk are gone
    lost_memory: tuple = ()      # nodes whose memory alone is gone
    flags: tuple = ()            # of both
    cloud: str = "none"          # what the nearest sources may take from it: none, some, all


def dp(n):
    return ["--data-parallel", str(n)]


def pp(n, data=1, tensor=1):
    return ["--pipeline-parallel", str(n), "--data-parallel", str(data), "--tensor-parallel", str(tensor)]


SCENARIOS = [
    Scenario("R1", "1 of 4 replicas lost", ("abcd", dp(4)), ("abc", dp(3)), lost=("d",)),
    Scenario("R2", "the only copy of a stage lost", ("abcd", pp(4)), ("abc", pp(3)), lost=("d",),
             flags=("--recovery-copies", "1"), cloud="some"),
    Scenario("R3", "all nodes of a group lost", ("abcd", pp(2, data=2)), ("ab", pp(2)), lost=("c", "d")),
    Scenario("R4", "a node joins", ("ab", dp(2)), ("abc", dp(3))),
    Scenario("R5", "2 tensor ranks become 1", ("aabb", pp(1, data=2, tensor=2)), ("ab", dp(2))),
    Scenario("R6", "4 stages become 2 x 2", ("abcd", pp(4)), ("abcd", pp(2, data=2))),
    Scenario("R7 disk", "full restart, disks survive", ("ab", dp(2)), ("ab", dp(2)), lost_memory=("a", "b")),
    Scenario("R7 cloud", "full restart on new nodes", ("ab", dp(2)), ("cd", dp(2)), lost=("a", "b"), cloud="all"),
]


class World:
    """Hosts and a cloud, shaped or not, for as long as it lives."""

    def __init__(self, args, directory):
        self.args, self.dir, self.server = args, directory, None
        self.environment = dict(os.environ)
        self.cloud = str(directory / "cloud")
        if args.shape == "off":
            return
        self.environment.setdefault("TESSERA_NET", "93")
        self.namespaces("down")
        for host in "abcd":
            self.namespaces("add", host, "1gbit")
        self.namespaces("add", "cloud", "200mbit")
        address = self.namespaces("address", "cloud").strip()
        self.server = subprocess.Popen([NAMESPACES, "exec", "cloud", sys.executable, "-c", SERVER, address],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        if self.server.stdout.readline().strip() != "ready":
            raise SystemExit("the S3 server did not start")
        self.environment.update(CLOUD_KEY, AWS_ENDPOINT_URL=f"http://{address}:5555")
        self.cloud = "s3://state"

    def namespaces(self, *words):
        return subprocess.run([NAMESPACES, *words], check=True, text=True, stdout=subprocess.PIPE,
                              env=self.environment).stdout

    def close(self):
        if self.server:
            self.server.stdin.close()
            self.server.wait()
            self.namespaces("down")

    def command(self, nodes):
        if self.args.shape == "off":
            return [str(ROOT / "scripts/launch/local.sh"), "-np", str(len(nodes)),
                    str(ROOT / "scripts/launch/as_nodes.sh"), ",".join(nodes)]
        hosts = ",".join(f"{n}:{nodes.count(n)}" for n in sorted(set(nodes)))
        exported = [word for name in [*CLOUD_KEY, "AWS_ENDPOINT_URL"] for word in ("-x", name)]
        return [str(NAMESPACES), "with", "mpirun", *exported, "--host", hosts]

    def train(self, name, stores, place, steps, *flags):
        """Runs to `steps`; its report and losses."""
        nodes, layout = place
        out = self.dir / name
        done = subprocess.run(
            [*self.command(nodes), self.args.program, "--model", str(self.dir / "config.json"), "--data",
             str(self.dir / "text.txt"), "--out", str(out), "--steps", str(steps), "--sequence-length", "32",
             "--global-batch", "12", "--warmup", "1", "--schedule", "constant", "--checkpoint-interval", "0",
             "--checkpoint-dir", str(self.dir / (name + ".checkpoints")), "--eval-interval", "0", "--export-dir",
             "none", "--tensorboard-dir", "none", "--log-style", "plain", "--memory-check", "off", "--deadline", "120",
             *layout, *(stores if stores else []), *flags], env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        shutil.rmtree(self.dir / (name + ".checkpoints"), ignore_errors=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stdout[-4000:]}")
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return json.loads((out / "report.json").read_text()), {l["step"]: l["loss"] for l in lines if "loss" in l}


def share(part, whole):
    return 100.0 * part / whole if whole else 0.0


def run(world, scenario):
    job = scenario.name.replace(" ", "-")
    base = world.dir / "stores"
    backup = world.dir / "backup"
    shutil.rmtree(base, ignore_errors=True)
    shutil.rmtree(backup, ignore_errors=True)
    memory = pathlib.Path(world.args.memory or base) / "memory"
    stores = ["--recovery-memory", str(memory), "--recovery-disk", str(base / "disk"), "--recovery-cloud", world.cloud,
              "--recovery-interval", "1000", "--recovery-job", job, "--node-link-gb-per-s", str(NODE_GB),
              "--recovery-cloud-gb-per-s", str(CLOUD_GB), "--recovery-cloud-total-gb-per-s", str(CLOUD_GB),
              *scenario.flags]
    _, alone = world.train(job + ".alone", None, scenario.before, SAVED + FURTHER)
    saved, _ = world.train(job, stores, scenario.before, SAVED)
    hash_before = saved["recovery"]["snapshots"]["state_hash"]
    for tier, lost in ((memory, scenario.lost + scenario.lost_memory), (base / "disk", scenario.lost)):
        for node in lost:
            shutil.rmtree(tier / node)
    shutil.copytree(memory, backup / "memory")
    shutil.copytree(base / "disk", backup / "disk")

    restored = {}
    for sources in ("cloud", "nearest"):
        shutil.rmtree(memory)
        shutil.rmtree(base / "disk")
        shutil.copytree(backup / "memory", memory)
        shutil.copytree(backup / "disk", base / "disk")
        report, _ = world.train(job, stores, scenario.after, SAVED, "--resume", "auto", "--recovery-sources", sources)
        restored[sources] = report["recovery"]["restored"]
        if restored[sources]["state_hash"] != hash_before:
            raise SystemExit(f"{scenario.name}: state hash {hash_before} became {restored[sources]['state_hash']}")
    _, losses = world.train(job, stores, scenario.after, SAVED + FURTHER, "--resume", "auto")
    worst = max(abs(losses[s] - alone[s]) for s in alone)
    if sorted(losses) != sorted(alone) or worst > 1e-4:
        raise SystemExit(f"{scenario.name}: losses {losses}, of the run that was left alone {alone}")
    shutil.rmtree(memory)

    nearest, cloud = restored["nearest"], restored["cloud"]
    total = sum(nearest["bytes"].values())
    row = {"scenario": scenario.name, "event": scenario.event, "state_hash": hash_before, "loss_difference": worst,
           "bytes": nearest["bytes"], "baseline_bytes": cloud["bytes"], "cloud_percent": share(nearest["bytes"]["cloud"], total),
           "seconds": nearest["seconds"], "baseline_seconds": cloud["seconds"], "planned_s": nearest["planned_s"],
           "lower_bound_s": nearest["lower_bound_s"], "baseline_planned_s": cloud["planned_s"]}
    percent = row["cloud_percent"]
    expected = {"none": percent == 0, "some": 0 < percent < 100, "all": percent > 0}[scenario.cloud]
    if not expected:
        raise SystemExit(f"{scenario.name}: {percent:.1f} % from the cloud, {scenario.cloud} was expected")
    return row


def print_row(row):
    total = sum(row["bytes"].values())
    parts = [f"{share(row['bytes'][key], total):5.0f} %" for key in
             ("own_memory", "own_disk", "peer_memory", "peer_disk", "cloud")]
    planned = row["baseline_planned_s"] / row["planned_s"] if row["planned_s"] > 0 else float("inf")
    bound = row["planned_s"] / row["lower_bound_s"] if row["lower_bound_s"] > 0 else 1.0
    print(f"{row['scenario']:<9}{row['event']:<31}{total / 1e6:7.1f}{''.join(f'{p:>9}' for p in parts)}"
          f"{row['seconds']:9.2f}{row['baseline_seconds']:9.2f}{row['baseline_seconds'] / row['seconds']:7.1f}x"
          f"{row['planned_s']:9.3f}{planned:9.1f}x{bound:7.2f}   {row['state_hash']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--shape", choices=["on", "off"], default="off")
    parser.add_argument("--hidden", type=int, default=192, help="width of the model; its state grows with the square")
    parser.add_argument("--memory", help="folder of a memory file system for the nodes' memory; default: on disk")
    parser.add_argument("--only", nargs="*", help="names of scenarios")
    parser.add_argument("--json", help="file for the rows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        model = {**MODEL, "hidden_size": args.hidden, "intermediate_size": args.hidden * 8 // 3 // 8 * 8}
        (directory / "config.json").write_text(json.dumps(model))
        (directory / "text.txt").write_text("the ring sends rows and a tile waits for keys. " * 400)
        world = World(args, directory)
        rows = []
        try:
            print("links: " + ("1 Gbit/s between hosts, 200 Mbit/s to the cloud, shaped" if args.shape == "on" else
                               "none; times of this machine alone"))
            print(f"{'':<9}{'event':<31}{'MB':>7}" + "".join(f"{h:>9}" for h in (
                "own mem", "own disk", "peer mem", "peer dsk", "cloud")) +
                f"{'s':>9}{'cloud s':>9}{'gain':>8}{'planned s':>9}{'gain':>10}{'/bound':>7}   state hash")
            for scenario in SCENARIOS:
                if args.only and scenario.name not in args.only:
                    continue
                rows.append(run(world, scenario))
                print_row(rows[-1])
        finally:
            world.close()
        if args.json:
            pathlib.Path(args.json).write_text(json.dumps({"shaped": args.shape, "time": time.time(), "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
