#!/usr/bin/env python3
"""tessera-train as a user meets it: exit codes, messages, files, signals, faults.

    train_program_test.py --program build/mpi/bin/tessera-train --case errors
    train_program_test.py --program … --launch scripts/launch/local.sh --case faults

Without --launch ranks are threads (--local-ranks); cases that hurt a rank need processes.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "initializer_range": 0.02,
}
TRAIN = {
    "sequence_length": 64, "global_batch": 4, "micro_batch": 1, "steps": 20, "warmup": 2,
    "learning_rate": 3e-3, "min_learning_rate": 3e-4, "schedule": "linear", "eval_interval": 10,
    "eval_sequences": 4, "checkpoint_interval": 0, "deadline": 60,
}
WORDS = "the ring sends rows and a tile waits for keys while its neighbour computes blocks of scores".split()


class Failure(AssertionError):
    pass


def check(condition, message, output=""):
    if not condition:
        raise Failure(f"{message}\n--- output ---\n{output[-6000:]}")


class Bench:
    """A directory with a model, a text and settings, and ways to run the program on them."""

    def __init__(self, args, directory):
        self.program, self.launch = args.program, args.launch
        self.dir = pathlib.Path(directory)
        self.text = self.dir / "text.txt"
        state, words = 1, []
        for _ in range(4000):
            state = (state * 1103515245 + 12345) % 2**31
            words.append(WORDS[state // 65536 % len(WORDS)])
        self.text.write_text(" ".join(words))
        (self.dir / "config.json").write_text(json.dumps(CONFIG))
        (self.dir / "train.json").write_text(
            json.dumps({**TRAIN, "model": str(self.dir / "config.json"), "data": [str(self.text)]}))

    def command(self, ranks, *flags, processes=False, config=True):
        settings = ["--config", str(self.dir / "train.json")] if config else []
        if processes:
            return [self.launch, "-np", str(ranks), self.program, *settings, *map(str, flags)]
        return [self.program, "--local-ranks", str(ranks), *settings, *map(str, flags)]

    def run(self, ranks, *flags, processes=False, config=True, limit_s=100, **options):
        done = subprocess.run(self.command(ranks, *flags, processes=processes, config=config), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s, **options)
        return done.returncode, done.stdout

    def train(self, out, ranks, *flags, **options):
        code, output = self.run(ranks, "--out", self.dir / out, *flags, **options)
        check(code == 0, f"{out}: exit code {code}", output)
        return output

    def losses(self, out):
        lines = (self.dir / out / "metrics.jsonl").read_text().splitlines()
        return {line["step"]: line["loss"] for line in map(json.loads, lines) if "loss" in line}

    def files(self):
        return sorted(str(p.relative_to(self.dir)) for p in self.dir.rglob("*"))


def case_errors(bench):
    """Each of the user's mistakes: one screen, exit code 2, nothing written."""
    bad_model = bench.dir / "bad.json"
    bad_model.write_text(json.dumps({**CONFIG, "num_key_value_heads": 3}))
    small_vocabulary = bench.dir / "small.json"
    small_vocabulary.write_text(json.dumps({**CONFIG, "vocab_size": 100}))
    short = bench.dir / "short.txt"
    short.write_text("too short")
    huge = bench.dir / "huge.json"
    huge.write_text(json.dumps({**CONFIG, "hidden_size": 2**16, "intermediate_size": 2**18, "num_hidden_layers": 90,
                                "num_attention_heads": 512, "num_key_value_heads": 512}))
    broken = bench.dir / "broken.json"
    broken.write_text('{"steps": }')
    (bench.dir / "no_weights").mkdir()
    shutil.copy(bench.dir / "config.json", bench.dir / "no_weights")
    cases = [
        # ranks, flags, texts
        (3, ["--mesh", "2x2"], ["--mesh", "has 4 ranks", "a mesh of 3 ranks", "1x3 or 3x1", "start 4 ranks"]),
        (4, ["--mesh", "2x"], ["mesh"]),
        (4, ["--data-parallel", "3", "--global-batch", "3"], ["a divisor of the number of ranks, 4"]),
        (4, ["--mesh", "u4:1x1"], ["divides heads by 4", "4 heads and 2 key/value heads"]),
        (1, ["--model", bad_model], ["bad.json", "num_key_value_heads"]),
        (2, ["--model", small_vocabulary], ["text.txt", "vocab"]),
        (2, ["--data", short], ["short.txt", "9 tokens", "at least 130"]),
        (1, ["--data", bench.dir / "none.txt"], ["none.txt"]),
        (1, ["--stepz", "3"], ["--stepz", "did you mean --steps?"]),
        (1, ["--steps", "many"], ["--steps", "many", "an integer from 1"]),
        (1, ["--config", bench.dir / "none.json"], ["none.json", "check the path"]),
        (1, ["--config", broken], ["broken.json", "parse error"]),
        (1, ["--model", bench.dir / "no_weights"], ["without model.safetensors", "no_weights/config.json"]),
        (1, ["--model", bench.dir / "none.json"], ["none.json"]),
        (2, ["--global-batch", "3", "--micro-batch", "2"], ["use --global-batch 4"]),
        (2, ["--model", huge], ["memory", "GB for 2 ranks", "of the machine", "--memory-check off"]),
        (1, ["--sequence-length", "4096"], ["max_position_embeddings", "128"]),
        (1, ["--resume", "latest"], ["no checkpoint in", "--resume auto"]),
        (1, ["--resume", bench.dir / "nowhere"], ["nowhere/manifest.json"]),
        (1, ["--out", bench.text / "below_a_file"], ["below_a_file"]),
    ]
    before = bench.files()
    for ranks, flags, texts in cases:
        flags = flags if "--out" in flags else [*flags, "--out", bench.dir / "out"]
        start = time.monotonic()
        code, output = bench.run(ranks, *flags, config="--config" not in flags)
        name = " ".join(map(str, flags))
        check(code == 2, f"{name}: exit code {code}, not 2", output)
        for text in texts:
            check(text in output, f"{name}: the message lacks {text!r}", output)
        check(output.count("error:") == 1, f"{name}: not told once", output)
        check(output.startswith("error: ") and len(output.splitlines()) <= 24, f"{name}: not one screen", output)
        check(bench.files() == before, f"{name}: something was written: {set(bench.files()) - set(before)}")
        check(time.monotonic() - start < 20, f"{name}: too slow")
    code, output = bench.run(1, "--help", config=False)
    check(code == 0 and "--sequence-length" in output and "default cosine" in output, "--help", output)
    code, output = bench.run(1, "--version", config=False)
    check(code == 0 and re.fullmatch(r"tessera-train \d+\.\d+\.\d+\n", output), "--version", output)
    if bench.launch:
        code, output = bench.run(3, "--mesh", "2x2", "--out", bench.dir / "out", processes=True)
        check(output.count("error:") == 1 and "has 4 ranks" in output and code == 2,
              f"under mpirun: exit code {code}", output)
        code, output = bench.run(2, "--local-ranks", "2", "--out", bench.dir / "out", processes=True)
        check(output.count("error:") == 1 and "without mpirun" in output and code == 2,
              f"threads under mpirun: exit code {code}", output)
        check(bench.files() == before, "something was written under mpirun")


def memory_estimate_holds(report, output=""):
    """What was estimated before the run is within a tenth of what the largest process allocated."""
    memory = report["memory"]
    check(memory["allocated_bytes"] > 0, "no memory counted", output)
    check(abs(memory["estimated_bytes"] / memory["allocated_bytes"] - 1) < 0.1, f"memory: {memory}", output)
    check(memory["resident_bytes"] >= memory["allocated_bytes"] / 2, f"memory: {memory}", output)


def case_outputs(bench):
    """What a run leaves behind, and that a second one does not trample on it."""
    output = bench.train("out", 4, "--mesh", "2x2", "--trace-step", "3", "--checkpoint-interval", "10",
                         "--json", "--peak-gflops", "100")
    report = json.loads(output[output.rindex('{"mesh"'):])
    out = bench.dir / "out"
    check(report["steps"] == 20 and len(report["ranks"]) == 4, "report", output)
    memory_estimate_holds(report, output)
    # The counters against the closed forms: to the byte, for every kind.
    moved = 0
    for kind, count in report["traffic"].items():
        if kind not in ("control", "recovery"):
            check(count["bytes_sent"] == count["bytes_by_formula"], f"{kind}: bytes differ from the formula", output)
            moved += count["bytes_sent"]
    check(report["attention_bytes"] > 0 and report["traffic"]["gradient"]["bytes_sent"] > 0, "bytes", output)
    check(json.loads((out / "report.json").read_text()) == report, "report.json")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    check([line["step"] for line in steps] == list(range(1, 21)), "metrics: steps")
    for field in ("learning_rate", "gradient_norm", "labels", "seconds", "tokens_per_s", "mb_sent",
                  "exposed_wait_s", "utilisation"):
        check(all(field in line for line in steps), f"metrics: {field}")
    check([line["step"] for line in lines if "eval_loss" in line] == [10, 20], "metrics: evaluations")
    check(steps[-1]["loss"] < steps[0]["loss"] - 1, "the loss must fall", output)
    # Bytes are counted from one agreement to the next: 19 of the 20 updates lie between two of them.
    check(0 < sum(line["mb_sent"] for line in steps) < 1.2 * moved / 1e6, "metrics: mb_sent")
    trace = json.loads((out / "trace.json").read_text())["traceEvents"]
    check({event["pid"] for event in trace} == {0, 1, 2, 3}, "trace: every rank")
    lanes = {event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    check({"step", "attention", "transfers"} <= lanes, f"trace: lanes {lanes}")
    check(all(event["dur"] >= 0 for event in trace if event["ph"] == "X"), "trace: durations")
    check((out / "export" / "model.safetensors").exists() and (out / "export" / "config.json").exists(), "export")
    check(list((out / "tensorboard").glob("events.out.tfevents.*")), "tensorboard")
    check(sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-00000010", "step-00000020"],
          "checkpoints")
    code, output = bench.run(4, "--out", out)
    check(code == 2 and "earlier run" in output and "--resume latest" in output, "occupied output", output)
    # Nodes that are known change the mesh that is chosen; the candidates and the reason are printed.
    output = bench.train("nodes", 8, "--ranks-per-node", "4", "--steps", "2", "--warmup", "0")
    check("across nodes" in output and re.search(r"chosen: u2:\S+, least time on the links", output), "nodes", output)
    check("head_exchange" in output, "nodes: no head exchange", output)
    output = bench.train("one_node", 8, "--steps", "2", "--warmup", "0")
    check("which moves the fewest bytes" in output and "head_exchange" not in output, "one node", output)
    # The export is a model one can go on from, and the settings of the run are a train.json.
    output = bench.train("second", 1, "--model", out / "export", "--steps", "3", "--warmup", "0")
    first = min(bench.losses("second").items())[1]
    check(first < steps[0]["loss"] - 1, "training on from an export starts where it ended", output)
    saved = json.loads((out / "train.json").read_text())
    check(saved["mesh"] == "2x2" and saved["steps"] == 20, "train.json")
    bench.train("out", 1, "--overwrite", "on", "--steps", "2", "--warmup", "0")
    check(sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-00000002"], "overwrite")


def close(a, b, limit=2e-4):
    return a.keys() == b.keys() and all(abs(a[s] - b[s]) < limit for s in a)


CURVE = pathlib.Path(__file__).parents[2] / "data" / "curve"  # its README says how PyTorch made it
CURVE_FLAGS = ["--model", CURVE, "--data", CURVE / "text.txt", "--seed", 1, "--sequence-length", 128,
               "--global-batch", 4, "--steps", 50, "--schedule", "constant", "--warmup", 0, "--learning-rate", 1e-3,
               "--weight-decay", 0.1, "--clip", 1, "--eval-interval", 0, "--checkpoint-interval", 0,
               "--export-dir", "none", "--tensorboard-dir", "none", "--deadline", 60]
# data x context ranks, the context ranks as meshes.
CURVE_LAYOUTS = [(1, "1x1"), (1, "1x2"), (2, "1x2"), (1, "2x2"), (1, "2x3"), (4, "1x1")]


def distance(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def case_curves(bench):
    """Processes under mpirun train to the curve of one rank, which is PyTorch's, and to the bits of threads."""
    expected = json.loads((CURVE / "expected.json").read_text())
    windows = json.loads((CURVE / "windows.json").read_text())["first_token"]
    check(len(windows) == 50 * 4, "the stored curve has 50 steps of 4 sequences")

    def curve(out, ranks, *flags, processes=True):
        bench.train(out, ranks, *CURVE_FLAGS, *flags, processes=processes, config=False)
        lines = [json.loads(line) for line in (bench.dir / out / "metrics.jsonl").read_text().splitlines()]
        check([line["step"] for line in lines] == list(range(1, 51)), f"{out}: steps")
        memory_estimate_holds(json.loads((bench.dir / out / "report.json").read_text()))
        check(all(line["labels"] == 4 * 128 for line in lines), f"{out}: labels of a step")
        return [line["loss"] for line in lines]

    # How far sums in another order move the curve: one rank, its batch as one micro-batch or as four. Another
    # layout reorders sums of the same lengths, so its distance is of the same size: sixteen times it, and never
    # less than one unit in the last place of a single token's loss, 5.5 * 2^-23 = 6e-7.
    one = curve("one", 1, "--micro-batch", 4)
    limit = max(16 * distance(one, curve("reordered", 1, "--micro-batch", 1)), 6e-7)
    check(limit < 1e-4, f"rounding must stay rounding: {limit}")
    # PyTorch's own float32 and float64 curves differ by `noise`; a correct float32 curve may lie as far on the
    # other side. 2e-6: a float32 loss is rounded to 6e-8 of itself after some tens of operations.
    noise = distance(expected["loss"], expected["loss_in_float64"])
    worst_mesh = worst_torch = 0
    for data, mesh in CURVE_LAYOUTS:
        a, b = map(int, mesh.split("x"))
        losses = curve(f"{data}_{mesh}", data * a * b, "--mesh", mesh, "--data-parallel", data)
        worst_mesh = max(worst_mesh, distance(losses, one))
        check(distance(losses, one) <= limit, f"data {data} x {mesh}: {distance(losses, one)} above {limit}")
        for step, (ours, theirs) in enumerate(zip(losses, expected["loss"], strict=True), 1):
            worst_torch = max(worst_torch, abs(ours - theirs))
            check(abs(ours - theirs) <= 4 * noise + 2e-6 * theirs,
                  f"data {data} x {mesh}, step {step}: {ours}, PyTorch {theirs}")
    print(f"{len(CURVE_LAYOUTS)} layouts, 50 steps: within {worst_mesh:.1e} of one rank (allowed {limit:.1e}), "
          f"within {worst_torch:.1e} of PyTorch")
    check(curve("threads", 4, "--mesh", "2x2", processes=False) == curve("again", 4, "--mesh", "2x2"),
          "threads and processes differ")


def case_resume(bench):
    """Stop by a signal, go on bit for bit; damaged checkpoints; another number of ranks; a full disk."""
    layout = ["--mesh", "1x2", "--data-parallel", "2"]
    bench.train("whole", 4, *layout)
    whole = bench.losses("whole")

    out = bench.dir / "stopped"
    job = subprocess.Popen(bench.command(4, "--out", out, *layout, "--log-interval", "1", "--steps", "100000",
                                         "--schedule", "constant"),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in job.stdout:
        lines.append(line)
        if line.startswith("step ") and "5/" in line:
            job.send_signal(signal.SIGTERM)
            break
    output = "".join(lines) + job.communicate(timeout=60)[0]
    check(job.returncode == 0, f"SIGTERM: exit code {job.returncode}", output)
    saved = re.search(r"asked to stop: saving after step (\d+)", output)
    check(saved is not None, "SIGTERM: no word of it", output)
    step = int(saved.group(1))
    checkpoints = out / "checkpoints"
    check([p.name for p in checkpoints.iterdir()] == [f"step-{step:08}"], "SIGTERM: checkpoint", output)
    check(not (out / "export").exists(), "SIGTERM: an unfinished run exports nothing")
    check(max(bench.losses("stopped")) == step, "SIGTERM: metrics end with the step saved")

    # Bit-exact: 8 steps and then the rest, against all in one.
    bench.train("parts", 4, *layout, "--steps", "8", "--schedule", "constant")
    bench.train("straight", 4, *layout, "--steps", "14", "--schedule", "constant")
    output = bench.train("parts", 4, *layout, "--steps", "14", "--schedule", "constant", "--resume", "latest",
                         "--checkpoint-interval", "2", "--checkpoint-keep", "3")
    check("resumed after step 8" in output, "resume", output)
    check(bench.losses("parts") == bench.losses("straight"), "resume: not bit-exact", output)
    names = sorted(p.name for p in (bench.dir / "parts" / "checkpoints").iterdir())
    check(names == ["step-00000010", "step-00000012", "step-00000014"], f"keep: {names}")

    # On other ranks, the same curve.
    output = bench.train("parts", 3, "--mesh", "3x1", "--steps", "20", "--schedule", "constant", "--resume", "auto")
    bench.train("straight", 4, *layout, "--steps", "20", "--schedule", "constant", "--overwrite", "on")
    check(close(bench.losses("parts"), bench.losses("straight")), "resume on other ranks", output)

    # Damage: refused by name, passed over only when told to.
    newest = bench.dir / "parts" / "checkpoints" / "step-00000020"
    shard = newest / "shard-0001-of-0003.bin"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    go_on = ["--out", bench.dir / "parts", "--steps", "22", "--schedule", "constant", "--resume", "latest"]
    code, output = bench.run(2, *go_on)
    check(code == 2 and "shard-0001-of-0003.bin" in output and "XXH64" in output and "--resume-fallback on" in output,
          f"damaged: exit code {code}", output)
    code, output = bench.run(2, *go_on, "--resume-fallback", "on")
    check(code == 0 and "passed over a damaged checkpoint" in output and "resumed after step 14" in output,
          f"fallback: exit code {code}", output)
    # A manifest that never came: the newest directory is not complete.
    for path in sorted((bench.dir / "parts" / "checkpoints").iterdir())[-1:]:
        (path / "manifest.json").unlink()
    code, output = bench.run(2, *go_on)
    check(code == 2 and "manifest.json" in output, f"no manifest: exit code {code}", output)
    # Another run's state.
    code, output = bench.run(2, *go_on, "--resume", bench.dir / "straight/checkpoints/step-00000020", "--seed", "9")
    check(code == 2 and "seed" in output and "begin another run" in output, f"other run: exit code {code}", output)

    # A disk that is full (a file size limit answers the same way): told, and training goes on.
    code, output = bench.run(2, "--out", bench.dir / "full", "--checkpoint-interval", "4", "--steps", "6",
                             "--warmup", "0", "--export-dir", "none", "--tensorboard-dir", "none",
                             preexec_fn=lambda: __import__("resource").setrlimit(
                                 __import__("resource").RLIMIT_FSIZE, (8192, 8192)))
    check(code == 2 and "warning: no checkpoint after step 4, training goes on" in output and "step     6/6" in output
          and output.count("error:") == 1 and "last checkpoint could not be saved" in output,
          f"full disk: exit code {code}", output)
    check(not list((bench.dir / "full" / "checkpoints").iterdir()), "full disk: remains")
    code, output = bench.run(1, "--out", bench.dir / "full2", "--metrics-file", "/dev/full", "--steps", "3",
                             "--warmup", "0")
    check(code == 0 and "training goes on without metrics" in output, f"/dev/full: exit code {code}", output)


def ranks_of(job, program):
    """Process ids of the ranks below `job`, by rank."""
    ranks = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if arguments[0].decode() != program:
                continue
            environment = dict(e.split("=", 1) for e in (entry / "environ").read_bytes().decode().split("\0") if "=" in e)
        except (OSError, UnicodeDecodeError, IndexError):
            continue
        if environment.get("TESSERA_TEST_TOKEN") == job.token:
            ranks[int(environment["OMPI_COMM_WORLD_RANK"])] = int(entry.name)
    return ranks


class Job:
    """The program under mpirun, told apart from others by a token in its environment."""

    def __init__(self, bench, ranks, *flags):
        self.token = f"{os.getpid()}-{time.monotonic_ns()}"
        self.program, self.ranks = bench.program, ranks
        command = bench.command(ranks, *flags, processes=True)
        at = command.index(bench.program)
        command[at:at] = ["-x", "TESSERA_TEST_TOKEN"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "TESSERA_TEST_TOKEN": self.token})
        self.lines, self.trains = [], threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("step ") and re.match(r"step +([3-9]|\d\d)", line):
                self.trains.set()

    @property
    def output(self):
        return "".join(self.lines)

    def pids(self):
        check(self.trains.wait(90), "no step within 90 s", self.output)
        pids = ranks_of(self, self.program)
        check(len(pids) == self.ranks, f"{len(pids)} ranks found", self.output)
        return pids

    def end(self, limit_s, what):
        start = time.monotonic()
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            for pid in [*ranks_of(self, self.program).values(), self.process.pid]:
                os.kill(pid, signal.SIGKILL)
            raise Failure(f"{what}: still there after {limit_s} s\n{self.output}")
        self.reader.join(5)
        time.sleep(0.3)
        check(not ranks_of(self, self.program), f"{what}: processes left behind", self.output)
        print(f"{what}: ended after {time.monotonic() - start:.1f} s with exit code {code}")
        return code


def case_faults(bench):
    """A rank killed, stopped, or asked to end, in the middle of a step under mpirun."""
    endless = ["--steps", "1000000", "--schedule", "constant", "--log-interval", "1", "--mesh", "2x2",
               "--eval-interval", "0"]
    deadline_s, grace_s = 4, 12

    job = Job(bench, 4, "--out", bench.dir / "killed", *endless, "--deadline", deadline_s)
    os.kill(job.pids()[2], signal.SIGKILL)
    code = job.end(deadline_s + grace_s, "SIGKILL")
    check(code != 0 and re.search(r"rank 2 .*signal 9", job.output), "SIGKILL: the rank is not named", job.output)

    job = Job(bench, 4, "--out", bench.dir / "stopped", *endless, "--deadline", deadline_s)
    os.kill(job.pids()[1], signal.SIGSTOP)
    code = job.end(deadline_s + grace_s, "SIGSTOP")
    check(code != 0 and re.search(r"[Rr]ank 1\b.* does not answer", job.output), "SIGSTOP: the rank is not named",
          job.output)
    check(job.output.count("ends the job") == 1, "SIGSTOP: told once", job.output)

    for sent in (signal.SIGTERM, signal.SIGUSR1):
        out = bench.dir / f"asked_{sent.name}"
        job = Job(bench, 4, "--out", out, *endless)
        # mpirun hands SIGUSR1 on to every rank; SIGTERM reaches one alone.
        pids = job.pids()
        os.kill(job.process.pid if sent == signal.SIGUSR1 else pids[3], sent)
        code = job.end(60, sent.name)
        saved = re.search(r"asked to stop: saving after step (\d+)", job.output)
        check(code == 0 and saved, f"{sent.name}: exit code {code}", job.output)
        names = [p.name for p in (out / "checkpoints").iterdir()]
        check(names == [f"step-{int(saved.group(1)):08}"], f"{sent.name}: {names}", job.output)


def plan_json(groups, tensor_parallel=1, mesh="1x1", micro_batch=1):
    """A plan.json for CONFIG and TRAIN. groups: (micro-batches, layers of each stage)."""
    h, f, v, layers = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"], 2
    d = h // CONFIG["num_attention_heads"]
    attention = 2 * h * h + 2 * h * CONFIG["num_key_value_heads"] * d
    parameters = 2 * v * h + h + layers * (attention + 3 * h * f + 2 * h)
    a, b = map(int, mesh.split("x"))
    device, made = 0, []
    for micro_batches, cuts in groups:
        stages, first = [], 0
        for count in cuts:
            devices = [[0, device + i] for i in range(tensor_parallel * a * b)]
            device += len(devices)
            stages.append({"devices": devices, "first_layer": first, "layers": count, "recompute": [["none", count]]})
            first += count
        made.append({"micro_batches": micro_batches, "stages": stages})
    plan = {"version": 1, "layers": layers, "tied_embeddings": False, "parameters": parameters,
            "sequence_length": TRAIN["sequence_length"], "global_batch": TRAIN["global_batch"], "precision": "fp32",
            "tensor_parallel": tensor_parallel, "context": mesh, "micro_batch": micro_batch,
            "nodes": [{"name": "node", "device": "cpu", "devices": device}], "groups": made}
    return plan, device


def case_plan(bench):
    """Plans under mpirun: the single-rank curve, traffic equal to the formulas, the export whole, errors."""
    bench.train("one", 1)
    one = list(bench.losses("one").values())
    bench.train("reordered", 1, "--micro-batch", 4)
    limit = max(16 * distance(one, list(bench.losses("reordered").values())), 6e-7)
    path = bench.dir / "plan.json"
    for name, arguments in {"unequal": {"groups": [(3, [1, 1]), (1, [2])]},
                            "tensor": {"groups": [(4, [1, 1])], "tensor_parallel": 2},
                            "mesh": {"groups": [(1, [1, 1]), (1, [2])], "mesh": "1x2", "micro_batch": 2}}.items():
        plan, ranks = plan_json(**arguments)
        path.write_text(json.dumps(plan))
        bench.train(name, ranks, "--plan", path, processes=True)
        losses = list(bench.losses(name).values())
        check(distance(losses, one) <= limit, f"{name}: {distance(losses, one)} above {limit}")
        report = json.loads((bench.dir / name / "report.json").read_text())
        for kind, bytes_of in report["traffic"].items():
            if kind in ("control", "recovery"):
                continue
            check(bytes_of["bytes_sent"] == bytes_of["bytes_by_formula"], f"{name}: {kind} {bytes_of}")
        check(report["traffic"]["pipeline"]["bytes_sent"] > 0, f"{name}: stages talk")
        # The exported model is the whole one: training goes on from it on one rank, at the loss it had.
        bench.train(f"{name}_again", 1, "--model", bench.dir / name / "export", "--steps", 2, "--warmup", 0)
        first = bench.losses(f"{name}_again")[1]
        check(first < losses[-1] + 0.3, f"{name}: the export starts at loss {first}, training ended at {losses[-1]}")
    before = bench.files()
    plan, ranks = plan_json([(3, [1, 1]), (1, [2])])
    for change, texts in {
            "version": ["plan.json", "version"], "groups": ["plan.json", "groups"],
            "global_batch": ["plan.json", "global_batch"]}.items():
        path.write_text(json.dumps({key: value for key, value in plan.items() if key != change}))
        code, output = bench.run(ranks, "--plan", path, "--out", bench.dir / "bad", processes=True)
        check(code == 2 and output.count("error:") == 1, f"without {change}: exit code {code}", output)
        for text in texts:
            check(text in output, f"without {change}: the message lacks {text!r}", output)
    path.write_text(json.dumps(plan))
    code, output = bench.run(ranks + 1, "--plan", path, "--out", bench.dir / "bad", processes=True)
    check(code == 2 and "ranks: plan 3, run 4" in output, f"one rank more: exit code {code}", output)
    check(bench.files() == before, "something was written")


CASES = {name[5:]: function for name, function in globals().items() if name.startswith("case_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--launch", help="mpirun or a script around it")
    parser.add_argument("--case", required=True, choices=sorted(CASES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tessera_train_") as directory:
        try:
            CASES[args.case](Bench(args, directory))
        except Failure as failure:
            print(f"FAILED {args.case}: {failure}")
            return 1
    print(f"{args.case}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
