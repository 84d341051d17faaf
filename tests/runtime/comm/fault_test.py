#!/usr/bin/env python3
"""Hurts one of four ranks and holds the job to its promises: it ends within deadline + grace, with a non-zero
exit code, a message that names the rank at fault, and no process left behind.

    fault_test.py --launch scripts/launch/local.sh --program build/mpi/tests/fault_program --scenario stop
"""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

RANKS = 4
DEADLINE_S = 4.0  # kDeadline in fault_program.cc
# A quarter of the deadline to find the culprit, then mpirun's own way down on a busy machine, which
# scripts/launch/local.sh ends after five seconds.
GRACE_S = 12.0

# scenario: (argument of the program, signal sent to rank 2 once all are ready, seconds in which the job must
# end, texts that must appear)
SCENARIOS = {
    "kill": ("reduce", signal.SIGKILL, GRACE_S, [r"signal 9 \(Killed\)"]),
    "stop": ("reduce", signal.SIGSTOP, DEADLINE_S + GRACE_S,
             [r"tessera: rank [013] ends the job: rank [013] waited [45]\.\d s for all_reduce of 4194304 bytes",
              r"ank 2,? (which )?does not answer: it is stopped or dead", r"raise the deadline"]),
    "throw": ("throw", None, GRACE_S, [r"tessera: rank 1 ends the job: loss is not a number"]),
    "leave": ("leave", None, GRACE_S, [r"tessera: rank 1 ends the job: an exception left"]),
    "stop_in_split": ("split", None, DEADLINE_S + GRACE_S,
                      [r"for split: not all ranks have come", r"Rank 2 does not answer: it is stopped or dead"]),
    "stop_in_finalize": ("finalize", None, DEADLINE_S + GRACE_S,
                         [r"MPI_Finalize took longer than the deadline of 4\.0 s: another rank is stopped"]),
}


def processes_with(token):
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if token in (entry / "cmdline").read_text():  # empty for zombies, which hold nothing
                yield int(entry.name)
        except (OSError, UnicodeDecodeError):
            continue


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launch", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--scenario", required=True, choices=sorted(SCENARIOS))
    args = parser.parse_args()
    argument, hurt, limit_s, texts = SCENARIOS[args.scenario]
    token = uuid.uuid4().hex
    job = subprocess.Popen([args.launch, "-np", str(RANKS), args.program, argument, token],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, pids, ready = [], {}, threading.Event()

    def read():
        for line in job.stdout:
            lines.append(line)
            if match := re.match(r"ready (\d+) (\d+)", line):
                pids[int(match.group(1))] = int(match.group(2))
            if len(pids) == RANKS:
                ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    failures = []
    try:
        if not ready.wait(60):
            failures.append("the ranks were not ready within 60 s")
        if hurt is not None and not failures:
            time.sleep(0.3)  # well into the collectives
            os.kill(pids[2], hurt)
        start = time.monotonic()
        try:
            code = job.wait(limit_s)
            print(f"ended {time.monotonic() - start:.1f} s after the fault, exit code {code}")
            if code == 0:
                failures.append("exit code 0")
        except subprocess.TimeoutExpired:
            failures.append(f"still running {limit_s} s after the fault")
        time.sleep(0.5)  # the kernel takes the killed ranks away
        if left := list(processes_with(token)):
            failures.append(f"processes left behind: {left}")
        reader.join(5)
    finally:
        for pid in processes_with(token):
            os.kill(pid, signal.SIGKILL)
    output = "".join(lines)
    failures += [f"no /{text}/ in the output" for text in texts if not re.search(text, output)]
    if output.count("ends the job") > 1:
        failures.append("more than one rank gave a reason")
    print(output)
    for failure in failures:
        print("FAILED:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
