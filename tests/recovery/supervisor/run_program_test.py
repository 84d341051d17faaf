#!/usr/bin/env python3
"""tessera-run with the real tessera-train: ranks, nodes and supervisors are killed and stopped, and the job goes on.

    run_program_test.py --bin build/mpi/bin --case kill_rank

What must hold throughout, whatever is hurt (class Job watches it from outside):
  - never do processes of two starts live at the same time;
  - a start goes on from the newest step that was ever reported as saved, or a later one;
  - a step that is done again has the same loss, bit for bit, when the plan is the same;
  - at the end every step was done, once each.
TESSERA_KILLS sets the number of random kills (10 unless given).
"""
import argparse
import collections
import contextlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "initializer_range": 0.02,
}
CPU = {"name": "CPU core", "kind": "cpu", "gflops": 40, "memory_gb": 4, "memory_gb_per_s": 10}
TRAIN = {"sequence_length": 64, "global_batch": 6, "warmup": 2, "eval_interval": 0, "checkpoint_interval": 10,
         "checkpoint_keep": 3, "log_interval": 10, "export_dir": "none", "tensorboard_dir": "none"}
QUICK = ["--poll", "0.05", "--first-delay", "0.1", "--greatest-delay", "1", "--restart-cost", "0.5",
         "--plan-time-limit", "10", "--launch", "local"]


def snapshots(directory, interval=5):
    """Flags for snapshots in node memory, node disk and a shared directory, instead of checkpoints."""
    return ["--recovery-memory", directory / "memory", "--recovery-disk", directory / "disk", "--recovery-cloud",
            directory / "cloud", "--recovery-interval", interval, "--checkpoint-interval", 0]


class Failure(AssertionError):
    pass


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(what, condition, limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise Failure(f"waited {limit_s} s for {what}")


class Job:
    """A job in a directory, its supervisor, and a watch over both."""

    def __init__(self, args, directory, nodes=(("a", 1), ("b", 1), ("c", 1)), flags=(), train=(), steps=100000):
        self.bin, self.dir = pathlib.Path(args.bin).resolve(), pathlib.Path(directory)
        self.state = self.dir / "job"
        (self.dir / "config.json").write_text(json.dumps(MODEL))
        (self.dir / "cluster.json").write_text(
            json.dumps({"nodes": [{"name": name, "gpu": CPU, "count": count} for name, count in nodes]}))
        (self.dir / "train.json").write_text(json.dumps({**TRAIN, "steps": steps}))
        words = "the ring sends rows and a tile waits for keys while its neighbour computes".split()
        pick = random.Random(1)
        (self.dir / "text.txt").write_text(" ".join(pick.choice(words) for _ in range(6000)))
        self.flags, self.train = [*QUICK, *map(str, flags)], [*map(str, train)]
        self.output = open(self.dir / "output.txt", "ab")
        self.supervisor = None
        self.problems = []
        self.losses = {}
        self.saved = -1
        self.same_plan = True
        self.starts_seen = {}  # number of a start: the step after which it began
        self.watching = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.begin()
        self.watch.start()
        return self

    def __exit__(self, kind, value, trace):
        self.watching.set()
        self.watch.join()
        if self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait()
        for pid, _ in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if kind is not None:
            print(self.story(), file=sys.stderr)
        elif self.problems:
            print(self.story(), file=sys.stderr)
            raise Failure("\n".join(self.problems))

    def command(self):
        return [self.bin / "tessera-run", "--cluster", self.dir / "cluster.json", "--model", self.dir / "config.json",
                "--train", self.dir / "train.json", "--state", self.state, *self.flags, "--",
                "--data", self.dir / "text.txt", *self.train]

    def begin(self, **environment):
        self.supervisor = subprocess.Popen(self.command(), stdout=self.output, stderr=subprocess.STDOUT,
                                           env={**os.environ, **environment})

    def text(self):
        return (self.dir / "output.txt").read_text()

    def story(self):
        logs = "".join(f"\n--- {path} ---\n{path.read_text()[-1500:]}" for path in sorted(self.state.glob("start-*/log.txt"))[-2:])
        return self.text()[-8000:] + logs

    def tool(self, *arguments):
        done = subprocess.run([self.bin / "tessera-run", *arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def status(self):
        code, text = self.tool("status", "--state", self.state, "--json")
        return json.loads(text) if code == 0 else None

    def journal(self):
        lines = (self.state / "journal.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def ranks(self, node=None):
        status = self.status() or {"ranks": []}
        return [rank for rank in status["ranks"] if node in (None, rank["node"]) and alive(rank["pid"])]

    def training(self, beyond=-1, start=1):
        """Waits until every rank of a start number `start` or later trains beyond a step; the status."""
        def reached():
            check(self.supervisor.poll() is None, "the supervisor has ended")
            status = self.status()
            ready = status and status["job"]["state"] == "running" and status["job"]["starts"] >= start
            ranks = status["ranks"] if ready else []
            return status if ranks and all(r["state"] in ("training", "saving") and r["step"] > beyond and alive(r["pid"])
                                           for r in ranks) else None
        return wait_for(f"start {start} to train beyond step {beyond}", reached)

    def processes(self):
        """(pid, start) of everything that carries this job's token."""
        try:
            run = json.loads((self.state / "supervisor.json").read_text())["run"].encode()
        except (OSError, ValueError):
            return
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    found = re.search(rb"TESSERA_RUN_TOKEN=" + run + rb"-(\d+)", open(f"/proc/{entry}/environ", "rb").read())
                except OSError:
                    continue
                if found:
                    yield int(entry), int(found.group(1))

    def _watch(self):
        while not self.watching.wait(0.05):
            starts = {start for _, start in self.processes()}
            if len(starts) > 1:
                self.problems.append(f"processes of starts {sorted(starts)} live at once")
            self.read_metrics()
            self.read_logs()

    def read_metrics(self):
        path = self.state / "run/metrics.jsonl"
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                step, loss = entry["step"], entry.get("loss")  # snapshots have lines too
                if loss is not None and self.same_plan and self.losses.setdefault(step, loss) != loss:
                    self.problems.append(f"step {step} had loss {self.losses[step]}, done again {loss}")

    def read_logs(self):
        """Each start against what the supervisor knew to be saved when it made it."""
        known = {}
        with contextlib.suppress(OSError, ValueError):
            for entry in self.journal():
                if entry["action"] == "start":
                    known[int(entry["why"].split()[1])] = entry["saved_step"]
        for number, saved in known.items():
            with contextlib.suppress(OSError):
                text = (self.state / f"start-{number:04}/log.txt").read_text(errors="replace")
                resumed = re.search(r"resumed after step (\d+)", text)
                if number in self.starts_seen or not (resumed or re.search(r"^step ", text, re.M)):
                    continue
                self.starts_seen[number] = int(resumed.group(1)) if resumed else 0
                if self.starts_seen[number] < saved:
                    self.problems.append(f"start {number} begins after step {self.starts_seen[number]}, {saved} was saved")

    def finish(self, limit_s=120):
        """Waits for the supervisor's end; its exit code."""
        try:
            return self.supervisor.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"the supervisor has not ended in {limit_s} s") from None

    def stop(self):
        """SIGTERM to the supervisor: state saved, exit code 0, nothing left."""
        self.supervisor.send_signal(signal.SIGTERM)
        code = self.finish()
        check(code == 0, f"exit code {code} after SIGTERM")
        check(not list(self.processes()), "processes are left")
        self.all_steps_done()

    def all_steps_done(self, last=None):
        lines = (self.state / "run/metrics.jsonl").read_text().splitlines()
        steps = [entry["step"] for entry in map(json.loads, lines) if "loss" in entry]
        check(steps == list(range(1, len(steps) + 1)), f"steps are missing or there twice: {steps[:5]} ... {steps[-5:]}")
        check(last is None or steps[-1] == last, f"the last step is {steps[-1]}")


def check(condition, message):
    if not condition:
        raise Failure(message)


def actions(job):
    return [(entry["event"].split(":")[0], entry["action"]) for entry in job.journal()]


def case_kill_rank(args, directory):
    """SIGKILL of one rank: the same plan again, from the last snapshot."""
    with Job(args, directory, steps=400) as job:
        status = job.training(beyond=25)
        os.kill(status["ranks"][1]["pid"], signal.SIGKILL)
        job.training(beyond=25, start=2)
        check(job.finish() == 0, "exit code")
        job.all_steps_done(last=400)
        check(("rank died", "end") in actions(job), "the journal lacks the rank's death")
        check(job.status()["job"]["starts"] == 2, "more starts than two")


def case_kill_node(args, directory):
    """SIGKILL of all ranks of a node that then does not answer: the job goes on without it, and lets it in again."""
    down = pathlib.Path(directory) / "down"
    down.mkdir()
    probe = pathlib.Path(directory) / "probe"
    probe.write_text(f"#!/bin/sh\n[ ! -e {down}/$1 ]\n")
    probe.chmod(0o755)
    with Job(args, directory, nodes=(("a", 2), ("b", 2)), train=snapshots(directory),
             flags=["--probe", f"{probe} {{}}", "--probe-interval", 0.5, "--suspicion", 1]) as job:
        job.same_plan = False
        job.training(beyond=25)
        ranks = job.ranks("b")
        check(len(ranks) == 2, f"b has {len(ranks)} ranks")
        (down / "b").touch()
        for rank in ranks:
            os.kill(rank["pid"], signal.SIGKILL)
        status = job.training(beyond=25, start=2)
        check({rank["node"] for rank in status["ranks"]} == {"a"}, "the lost node is in use")
        check("from snapshots" in (job.state / "start-0002/log.txt").read_text(), "snapshots were not used")
        check([node["state"] for node in status["nodes"]] == ["healthy", "lost"], str(status["nodes"]))
        (down / "b").unlink()
        status = job.training(beyond=25, start=3)
        check({rank["node"] for rank in status["ranks"]} == {"a", "b"}, "the returning node was not let in")
        job.stop()
        check(("node seen", "ask planner") in actions(job) and ("plan ready", "save") in actions(job),
              "the journal lacks why the node was let in")


def case_stop_rank(args, directory):
    """SIGSTOP of a rank, which may be saving: nobody beats any more; the job is ended and started again."""
    with Job(args, directory, flags=["--hang-after", 2, "--hang-factor", 20, "--quiet-limit", 5]) as job:
        status = job.training(beyond=25)
        stopped = status["ranks"][2]
        os.kill(stopped["pid"], signal.SIGSTOP)
        job.training(beyond=25, start=2)
        check(not alive(stopped["pid"]), "the stopped rank still lives")
        hang = [entry for entry in job.journal() if entry["event"].startswith("rank hung")]
        check(hang and "silent for" in hang[0]["event"], "the journal lacks the hang")
        job.stop()


def case_kill_supervisor(args, directory):
    """SIGKILL of the supervisor: the job does not notice, and the next supervisor goes on with its processes."""
    with Job(args, directory, steps=1500) as job:
        before = {rank["pid"] for rank in job.training(beyond=25)["ranks"]}
        job.supervisor.kill()
        job.supervisor.wait()
        time.sleep(0.3)
        check(all(map(alive, before)), "ranks died with their supervisor")
        job.begin()
        wait_for("the new supervisor", lambda: job.status()["supervised"])
        status = job.training(beyond=25)
        check({rank["pid"] for rank in status["ranks"]} == before and status["job"]["starts"] == 1,
              "the processes were not adopted")
        # A second one is refused.
        second = subprocess.run(job.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(second.returncode == 2 and "another tessera-run keeps the job" in second.stdout, second.stdout)
        # Dies with a rank dead meanwhile: the next one finds out.
        job.supervisor.kill()
        job.supervisor.wait()
        os.kill(next(iter(before)), signal.SIGKILL)
        time.sleep(0.2)
        job.begin()
        job.training(beyond=25, start=2)
        check(job.finish() == 0, "exit code")
        job.all_steps_done(last=1500)


def case_crash_loop(args, directory):
    """A program that always fails: back-off, then a clear end with exit code 1."""
    with Job(args, directory, flags=["--train-program", "/bin/false", "--crash-limit", 3]) as job:
        check(job.finish() == 1, "exit code")
        text = job.text()
        check("error: the job has failed: ended 4 times within 600.0 s without saving a step" in text, text)
        check("journal  tessera-run journal --state" in text and "log.txt" in text, text)
        times = [entry["time_ms"] for entry in job.journal() if entry["action"] == "start"]
        gaps = [b - a for a, b in zip(times, times[1:])]
        check(len(times) == 4 and gaps[1] >= 75 and gaps[2] >= 150, f"no back-off between starts: {gaps}")


def case_refused(args, directory):
    """Wrong input: exit code 2, one screen, and no second try."""
    with Job(args, directory, train=["--window", "7", "--stepz", "3"]) as job:
        check(job.finish() == 2, "exit code")
        check("--stepz" in job.text() and "steps" in job.text(), job.text())
    shutil.rmtree(directory / "job", ignore_errors=True)
    with Job(args, directory, nodes=(("tiny", 1),), flags=["--plan-program", "/bin/false"]) as job:
        check(job.finish() == 2 and "no plan fits all nodes" in job.text(), job.text())
        check("/bin/false ended with exit code 1" in job.text(), job.text())
    shutil.rmtree(directory / "job", ignore_errors=True)
    with Job(args, directory, train=["--data", directory / "none.txt"]) as job:
        check(job.finish() == 2, "exit code")
        check("none.txt" in job.text() and "refuses its input" in job.text(), job.text())
        check(len([a for a in actions(job) if a[1] == "start"]) == 1, "tried again")


def case_notice(args, directory):
    """A preemption notice: the job saves inside it and goes on without the node, losing no step."""
    with Job(args, directory) as job:
        job.same_plan = False
        job.training(beyond=25)
        code, text = job.tool("notice", "--state", str(job.state), "--node", "d")
        check(code == 2 and "a node of the job" in text, text)
        job.tool("notice", "--state", str(job.state), "--node", "b", "--in", "30")
        status = job.training(beyond=25, start=2)
        check({rank["node"] for rank in status["ranks"]} == {"a", "c"}, "the node is still in use")
        saved = re.findall(r"asked to stop: saving after step (\d+)", (job.state / "start-0001/log.txt").read_text())
        resumed = re.findall(r"resumed after step (\d+)", (job.state / "start-0002/log.txt").read_text())
        check(saved and saved == resumed, f"saved {saved}, resumed {resumed}")
        job.stop()


class Metadata(http.server.BaseHTTPRequestHandler):
    """The two clouds' services as their documents describe them."""
    notice = None

    def do_PUT(self):
        good = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if good else 400, "secret-token")

    def do_GET(self):
        if self.path == "/computeMetadata/v1/instance/preempted":
            good = self.headers["Metadata-Flavor"] == "Google"
            self.answer(200 if good else 403, "TRUE" if Metadata.notice else "FALSE")
        elif self.headers["X-aws-ec2-metadata-token"] != "secret-token":
            self.answer(401, "")
        elif self.path == "/latest/meta-data/spot/instance-action" and Metadata.notice:
            self.answer(200, json.dumps({"action": "terminate", "time": Metadata.notice}))
        else:
            self.answer(404, "")

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def case_metadata(args, directory):
    """AWS to the supervisor of node c, then GCP through an agent on node b."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with Job(args, directory, flags=["--notices", "aws", "--metadata-address", address, "--node", "c"]) as job:
        job.same_plan = False
        job.training(beyond=5)
        Metadata.notice = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
        status = job.training(beyond=5, start=2)
        check({rank["node"] for rank in status["ranks"]} == {"a", "b"}, "c is still in use")
        agent = subprocess.run([job.bin / "tessera-run", "agent", "--state", job.state, "--node", "b", "--notices", "gcp",
                                "--metadata-address", address, "--interval", "0.2"], timeout=20)
        check(agent.returncode == 0, "the agent failed")
        status = job.training(beyond=5, start=3)
        check({rank["node"] for rank in status["ranks"]} == {"a"}, "b is still in use")
        check("secret-token" not in job.text(), "a token was printed")
        job.stop()
    server.shutdown()


def case_stop_continue(args, directory):
    """SIGTERM to the supervisor saves and ends; the same command goes on to the end."""
    with Job(args, directory, steps=700) as job:
        job.training(beyond=25)
        job.stop()
        check(job.status()["job"]["state"] == "stopped", "state")
        steps = len((job.state / "run/metrics.jsonl").read_text().splitlines())
        job.begin()
        check(job.finish() == 0, "exit code")
        job.all_steps_done(last=700)
        resumed = re.search(r"resumed after step (\d+)", (job.state / "start-0002/log.txt").read_text())
        check(resumed and int(resumed.group(1)) == steps, "steps were lost by stopping")
        code, text = job.tool("journal", "--state", str(job.state))
        check(code == 0 and "asked to stop" in text and "trained to the end" in text, text)


def case_spare(args, directory):
    """A spare takes the place of a lost node; a node on demand is ordered when that is not enough."""
    marker = pathlib.Path(directory) / "ordered"
    with Job(args, directory, nodes=(("a", 1), ("b", 1), ("spare", 1), ("cloud", 1)),
             flags=["--spare", "spare", "--on-demand", "cloud", "--order", f"touch {marker}-{{}}"]) as job:
        job.same_plan = False
        status = job.training(beyond=5)
        check({rank["node"] for rank in status["ranks"]} == {"a", "b"}, "spares are in use")
        job.tool("notice", "--state", str(job.state), "--node", "b", "--in", "0")
        status = job.training(beyond=5, start=2)
        check({rank["node"] for rank in status["ranks"]} == {"a", "spare"}, "the spare is not in use")
        job.tool("notice", "--state", str(job.state), "--node", "spare", "--in", "0")
        job.training(beyond=5, start=3)
        wait_for("the order", pathlib.Path(f"{marker}-cloud").exists)
        job.tool("notice", "--state", str(job.state), "--node", "cloud", "--back")
        status = job.training(beyond=5, start=4)
        check({rank["node"] for rank in status["ranks"]} == {"a", "cloud"}, "the ordered node is not in use")
        job.stop()


def case_slurm(args, directory):
    """Inside an allocation: nodes come from scontrol, mpirun gets hosts. Slurm's programs are played by scripts."""
    fake = pathlib.Path(directory) / "fake"
    fake.mkdir()
    scripts = {"scontrol": '[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"', "srun": "exit 0",
               "mpirun": f'echo "$@" >{fake}/arguments; exit 3'}
    for name, body in scripts.items():
        (fake / name).write_text(f"#!/bin/sh\n{body}\n")
        (fake / name).chmod(0o755)
    job = Job(args, directory, nodes=(("n1", 2), ("n2", 2), ("n3", 2)), flags=["--launch", "slurm", "--crash-limit", 0])
    job.begin(SLURM_JOB_NODELIST="n[1-2]", PATH=f"{fake}:{os.environ['PATH']}")
    check(job.finish() == 1, job.story())
    given = (fake / "arguments").read_text()
    check("--host n1:2 -np 2 env TESSERA_NODE=n1" in given and ": --host n2:2 -np 2 env TESSERA_NODE=n2" in given, given)
    check("n3" not in given, given)


def case_random_kills(args, directory):
    """Random victims at random moments. The job always goes on, and loses at most what was not yet saved."""
    kills = int(os.environ.get("TESSERA_KILLS", "10"))
    seed = int(os.environ.get("TESSERA_KILL_SEED", "1"))
    pick = random.Random(seed)
    done = collections.Counter()
    kinds = ["kill rank", "stop rank", "kill node", "kill supervisor", "kill launcher"] * (kills // 5 + 1)
    pick.shuffle(kinds)  # each as often as any other
    # No crash limit: the kills come faster than snapshots may.
    with Job(args, directory, nodes=(("a", 2), ("b", 2)), steps=10**6, train=snapshots(directory),
             flags=["--hang-after", 3, "--hang-factor", 30, "--crash-limit", 10**6, "--quiet-limit", 20]) as job:
        job.training(beyond=5)
        while sum(done.values()) < kills:
            time.sleep(pick.uniform(0, 1.5))
            kind = kinds[sum(done.values())]
            ranks = job.ranks()
            if not ranks:
                continue
            if kind == "kill supervisor":
                job.supervisor.kill()
                job.supervisor.wait()
                time.sleep(pick.uniform(0, 0.3))
                job.begin()
            elif kind == "kill launcher":
                for pid, _ in list(job.processes()):
                    with contextlib.suppress(OSError):
                        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "mpirun":
                            os.kill(pid, signal.SIGKILL)
            else:
                victim = pick.choice(ranks)
                hurt = [rank for rank in ranks if rank["node"] == victim["node"]] if kind == "kill node" else [victim]
                for rank in hurt:
                    with contextlib.suppress(OSError):
                        os.kill(rank["pid"], signal.SIGSTOP if kind == "stop rank" else signal.SIGKILL)
            done[kind] += 1
            if pick.random() < 0.5:  # else the next one hits it while it restarts
                before = max(job.losses, default=0)
                wait_for("progress", lambda: max(job.losses, default=0) > before and job.ranks(), 90)
        before = job.status()["job"]["saved_step"]
        wait_for("a snapshot after the last kill", lambda: job.status()["job"]["saved_step"] > before, 120)
        begun = list(job.starts_seen.values())
        check(len(begun) > 1 and max(begun) > 0, f"no start went on from anything: {begun}")
        job.stop()
        check(job.status()["job"]["state"] == "stopped", "state")
        print(f"seed {seed}: {dict(done)}, {job.status()['job']['starts']} starts, "
              f"{max(job.losses)} steps, saved {job.status()['job']['saved_step']}")


def main():
    cases = {name[5:]: case for name, case in globals().items() if name.startswith("case_")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--case", required=True, choices=sorted(cases))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tessera-run-") as directory:
        try:
            cases[args.case](args, pathlib.Path(directory))
        except Failure as failure:
            print(f"{args.case}: {failure}", file=sys.stderr)
            return 1
    print(f"{args.case}: as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
