#!/usr/bin/env python3
"""The architecture as a table. ctest runs this as `layers`; docs/architecture.md draws the same arrows.

A file belongs to the longest row that matches its path. It may include files of its own row, of the rows
listed, and the guarded libraries listed. The table itself is checked for cycles, and --self-test proves
that a wrong include is found.
"""
import argparse
import graphlib
import pathlib
import re
import sys

GUARDED = ("cuda", "cublas", "cudnn", "nccl", "mpi")  # first letters of a header's name
BASE = "algos/base"
PLAN = ("planner/spec", "planner/plan")
ATTENTION_PLAN = tuple(
    f"runtime/attention/{name}"
    for name in ("mesh_shape", "token_layout", "tile_assignment", "tile_schedule", "chunk_mask", "ring_messages",
                 "volume", "tile_travel", "mesh_choice"))

# row: (rows it may include, guarded libraries it may include)
ROWS = {
    "algos/base": ((), ()),
    "algos/strings": ((BASE,), ()),
    "algos/knapsack": ((BASE,), ()),
    "algos/kserver": ((BASE,), ()),
    "algos/ttl": ((BASE,), ()),
    "algos/rtlbench": ((BASE, "algos/strings"), ()),
    "algos/tools": (("algos",), ()),
    "planner/spec": ((BASE,), ()),
    "planner/plan": ((BASE, "planner/spec", "runtime/attention/mesh_shape"), ()),
    "planner/cost": ((BASE, "algos/knapsack", *PLAN, "runtime/attention/mesh_shape"), ()),
    "planner/search": ((BASE, "algos/knapsack", *PLAN, "planner/cost", "runtime/attention/mesh_shape"), ()),
    "planner/sim": ((BASE, *PLAN, "planner/cost"), ()),
    "planner/baselines": ((BASE, *PLAN, "planner/cost", "planner/sim"), ()),
    "planner/spot": ((BASE, "algos/kserver", *PLAN), ()),
    "planner/tools": ((BASE, "algos/tools", "planner"), ()),
    "kernels/device": ((BASE,), ("cuda",)),
    "kernels": ((BASE, "kernels/device"), ("cuda", "cublas", "cudnn")),
    "recovery/state": ((BASE, *PLAN), ()),
    "recovery/store": ((BASE, "recovery/state"), ()),
    "recovery/peer": ((BASE, "algos/ttl", "recovery/state"), ()),
    "recovery/restore": ((BASE, *PLAN, "recovery/state", "recovery/store", "recovery/peer"), ()),
    "recovery/membership": ((BASE, *PLAN), ()),
    "recovery/supervisor": ((BASE, *PLAN, "recovery/membership"), ()),
    "recovery/tools": ((BASE, "algos/tools", *PLAN, "recovery", "planner"), ()),
    "runtime/comm": ((BASE, "kernels/device", "recovery/state", "recovery/peer"), ("cuda", "nccl", "mpi")),
    "runtime/parallel": ((BASE, *PLAN, "runtime/comm"), ("cuda", "nccl", "mpi")),
    "runtime/attention/mesh_shape": ((BASE,), ()),
    "runtime/attention/token_layout": ((BASE,), ()),
    "runtime/attention/tile_assignment": ((BASE, *ATTENTION_PLAN[:1]), ()),
    "runtime/attention/tile_schedule": ((BASE, ATTENTION_PLAN[0], ATTENTION_PLAN[2]), ()),
    "runtime/attention/chunk_mask": ((BASE, *ATTENTION_PLAN[:2]), ()),
    "runtime/attention/ring_messages": ((BASE, ATTENTION_PLAN[0], ATTENTION_PLAN[2], ATTENTION_PLAN[4]), ()),
    "runtime/attention/volume": ((BASE, *ATTENTION_PLAN[:6]), ()),
    "runtime/attention/tile_travel": ((BASE, *ATTENTION_PLAN[:6]), ()),
    "runtime/attention/mesh_choice": ((BASE, *ATTENTION_PLAN[:7]), ()),
    "runtime/attention": ((BASE, "kernels", "runtime/comm", "runtime/parallel", *ATTENTION_PLAN), ("cuda",)),
    "runtime/model": ((BASE, *PLAN, "kernels", "runtime/comm", "runtime/parallel", "runtime/attention",
                       *ATTENTION_PLAN), ("cuda",)),
    "runtime/schedule": ((BASE, *PLAN, "kernels", "runtime/comm", "runtime/parallel",
                          "runtime/model"), ("cuda",)),
    "runtime/optim": ((BASE, "planner/spec", "kernels", "runtime/comm", "runtime/parallel",
                       "runtime/model"), ("cuda",)),
    "runtime/data": ((BASE, "planner/spec"), ()),
    "runtime/train": ((BASE, "algos/knapsack", "algos/ttl", *PLAN, "planner/search", "planner/spot", "kernels", "recovery",
                       "runtime/comm", "runtime/parallel", "runtime/attention", *ATTENTION_PLAN,
                       "runtime/model", "runtime/schedule", "runtime/optim", "runtime/data"), ("cuda",)),
    "runtime/profile": ((BASE, *PLAN, "kernels", "runtime/comm", "runtime/parallel", "runtime/attention",
                         *ATTENTION_PLAN, "runtime/model", "runtime/optim", "runtime/schedule", "runtime/train"), ()),
    "runtime/tools": ((BASE, *PLAN, "kernels", "recovery", "runtime", *ATTENTION_PLAN), ("mpi",)),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = (".h", ".cc", ".cu", ".cuh")
MODULES = ("algos", "planner", "kernels", "recovery", "runtime")


def row_of(path):
    hits = [row for row in ROWS if path.startswith((row + "/", row + ".", row + "_"))]
    return max(hits, key=len) if hits else None


def allowed(row, target_path):
    """A row grants itself, and everything below the rows it lists, unless a longer row claims the target."""
    to = row_of(target_path)
    if to is None:
        return False
    return any(to == grant or to.startswith(grant + "/") for grant in (row, *ROWS[row][0]))


def file_violations(path, text):
    row = row_of(path)
    if row is None:
        yield f"{path}: belongs to no row of scripts/check_layers.py; add the folder to the table"
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match.group(2)
        if match.group(1) == '"' and name.startswith(tuple(m + "/" for m in (*MODULES, "tests"))):
            if not allowed(row, name):
                yield f'{path}:{number}: {row} may not include "{name}"'
        elif name.startswith(GUARDED):
            library = next(g for g in GUARDED if name.startswith(g))
            if library not in ROWS[row][1]:
                yield f"{path}:{number}: {row} may not see the library behind <{name}>"


def check_table():
    graph = {row: {r for grant in grants for r in ROWS if r != row and (r == grant or r.startswith(grant + "/"))}
             for row, (grants, _) in ROWS.items()}
    # A folder may use its own pure files, which have rows of their own; that is not a cycle.
    for row, uses in graph.items():
        uses -= {u for u in uses if row in graph[u] and u.startswith(row + "/")}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def self_test():
    wrong = [
        ("planner/spec/a.h", '#include "kernels/gemm/gemm.h"'),
        ("kernels/norm/a.cc", '#include "runtime/comm/communicator.h"'),
        ("runtime/attention/tile_schedule.cc", '#include "kernels/attention/attention.h"'),
        ("runtime/train/trainer.cc", "#include <mpi.h>"),
        ("algos/base/status.h", '#include "planner/spec/model_spec.h"'),
    ]
    for path, line in wrong:
        assert list(file_violations(path, line)), f"not found: {path} {line}"
    right = [
        ("runtime/tools/tessera_train.cc", "#include <mpi.h>"),
        ("runtime/attention/mesh_attention.cc", '#include "runtime/attention/volume.h"'),
        ("kernels/norm/rmsnorm_cpu.cc", '#include "kernels/device/thread_pool.h"'),
    ]
    for path, line in right:
        found = list(file_violations(path, line))
        assert not found, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    args = parser.parse_args()
    check_table()
    self_test()
    files = [f for module in MODULES for f in sorted((args.root / module).rglob("*")) if f.suffix in SOURCES]
    found = [v for f in files for v in file_violations(f.relative_to(args.root).as_posix(), f.read_text())]
    print("\n".join(found))
    print(f"layers: {len(files)} files, {len(found)} violations")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
