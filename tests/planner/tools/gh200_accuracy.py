#!/usr/bin/env python3
"""Predicts measured iterations of GH200 nodes with `tessera-plan evaluate` and fails above a mean error of 8 %.

Each row of tests/data/planner/gh200.json becomes a plan.json, a profile.json and a config.json: layer times
and bytes as published, links as fitted, nothing tuned. Prints the table that docs/planner.md shows.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

MIB = 2**20
GIB = 2**30


def profile_of(data, model):
    layers = []
    for micro_batch, seconds in model["seconds"].items():
        def add(kind, times, layer=None):
            measured = model["measured_mib"][micro_batch][kind] * MIB
            parameters = model["parameter_bytes"][kind]
            row = {"kind": kind, "tp": data["tensor_parallel"], "micro_batch": int(micro_batch),
                   "sequence_length": data["sequence_length"], "forward_s": times[0], "backward_s": times[1],
                   "update_s": seconds["update"], "parameter_bytes": parameters,
                   # fp32 weight, gradient and two moments are in what was measured.
                   "activation_bytes": max(0, measured - 4 * parameters)}
            if layer is not None:
                row["layer"] = layer
            layers.append(row)
        add("embedding", seconds["embedding"])
        add("decoder", seconds["first"], 0)
        add("decoder", seconds["decoder"])
        add("head", seconds["head"])
    return {"devices": {data["device"]: {"layers": layers}}, "links": {data["device"]: data["links"]}}


def config_of(data, model):
    return {"model_type": "llama", "hidden_size": model["hidden_size"], "intermediate_size": 4 * model["hidden_size"],
            "num_hidden_layers": model["layers"], "num_attention_heads": model["heads"],
            "vocab_size": model["vocab_size"], "max_position_embeddings": data["sequence_length"]}


def plan_of(data, model, row):
    """Each stage of each group is one node; the published layer counts include embedding and head."""
    counts = list(row["layers"])
    counts[0] -= 1
    counts[-1] -= 1
    stages_per_group = len(counts)
    per_node = data["devices_per_node"]
    groups = []
    for group in range(row["data_parallel"]):
        first = 0
        stages = []
        for s, count in enumerate(counts):
            node = group * stages_per_group + s
            stages.append({"devices": [[node, d] for d in range(per_node)], "first_layer": first, "layers": count,
                           "recompute": [["none", count]]})
            first += count
        groups.append({"micro_batches": row["global_batch"] // row["micro_batch"] // row["data_parallel"],
                       "stages": stages})
    return {"version": 1, "layers": model["layers"], "tied_embeddings": False, "parameters": 1,
            "sequence_length": data["sequence_length"], "global_batch": row["global_batch"],
            "precision": data["precision"], "tensor_parallel": data["tensor_parallel"], "context": "1x1",
            "micro_batch": row["micro_batch"],
            "nodes": [{"name": f"n{n}", "device": data["device"], "devices": per_node}
                      for n in range(row["data_parallel"] * stages_per_group)],
            "groups": groups}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tessera-plan", required=True)
    parser.add_argument("--data", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[2] / "data/planner/gh200.json")
    args = parser.parse_args()
    data = json.loads(args.data.read_text())
    print("| model | stages | groups | micro-batch | measured s | predicted s | error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: pathlib.Path(folder, name + ".json") for name in ("plan", "profile", "config")}
        for row in data["rows"]:
            model = data["models"][row["model"]]
            paths["plan"].write_text(json.dumps(plan_of(data, model, row)))
            paths["profile"].write_text(json.dumps(profile_of(data, model)))
            paths["config"].write_text(json.dumps(config_of(data, model)))
            answer = subprocess.run(
                [args.tessera_plan, "evaluate", "--plan", paths["plan"], "--profile", paths["profile"],
                 "--model", paths["config"], "--json"], capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                sys.exit(answer.stderr)
            predicted = json.loads(answer.stdout)["iteration_s"]
            error = predicted / row["iteration_s"] - 1
            errors.append(abs(error))
            print(f"| {row['model']} | {len(row['layers'])} | {row['data_parallel']} | {row['micro_batch']} | "
                  f"{row['iteration_s']:.3f} | {predicted:.3f} | {100 * error:+.1f} % |")
    mean = sum(errors) / len(errors)
    print(f"\nmean absolute error {100 * mean:.1f} %")
    return 0 if mean <= 0.08 else 1


if __name__ == "__main__":
    sys.exit(main())
