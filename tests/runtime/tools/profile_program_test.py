#!/usr/bin/env python3
"""tessera-profile as a user meets it: what it writes, messages, exit codes; with tessera-train --speed-factors.

    profile_program_test.py --profile build/mpi/bin/tessera-profile --train build/mpi/bin/tessera-train
                            [--launch scripts/launch/local.sh]
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "initializer_range": 0.02,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--launch")
    args = parser.parse_args()

    def start(program, ranks, *arguments):
        command = ([args.launch, "-np", str(ranks), program, *arguments] if args.launch
                   else [program, "--local-ranks", str(ranks), *arguments])
        return subprocess.run(command, capture_output=True, text=True, timeout=200)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = folder / "config.json"
        model.write_text(json.dumps(CONFIG))
        out = folder / "profile.json"
        quick = ["--model", str(model), "--out", str(out), "--sequence-length", "32", "--rounds", "2",
                 "--round-seconds", "0.005"]

        done = start(args.profile, 2, *quick, "--device", "core", "--tensor-parallel", "1,2", "--micro-batch", "1",
                     "--recompute", "none,full", "--busy-wait")
        assert done.returncode == 0, done.stderr
        for line in ("2 ranks measured at the same time", "decoder forward, tp 2", "all-gather of 2 ranks", "spread"):
            assert line in done.stdout, done.stdout
        profile = json.loads(out.read_text())
        rows = profile["devices"]["core"]["layers"]
        found = sorted((r["kind"], r["tp"], r.get("recompute", "none")) for r in rows)
        expected = sorted((kind, tp, mode) for tp in (1, 2) for kind, mode in
                          [("decoder", "none"), ("decoder", "full"), ("embedding", "none"), ("head", "none")])
        assert found == expected, found
        assert all(r["backward_s"] > 0 and r["parameter_bytes"] > 0 for r in rows), rows
        assert "intra" in profile["links"]["core"] and "inter" not in profile["links"]["core"], profile["links"]
        assert profile["devices"]["core"]["base_bytes"] > 1e6, profile["devices"]["core"]["base_bytes"]

        # The user's mistakes: exit code 2, told once, nothing written.
        out.unlink()
        for arguments, text in [
                (["--model", str(folder / "absent.json"), "--out", str(out)], "absent.json"),
                ([*quick, "--recompute", "some"], "some"),
                ([*quick, "--tensor-parallel", "3", "--no-links"], "tensor"),
                ([*quick, "--nonsense"], "--nonsense"),
                (["--model", str(model)], "--out")]:
            done = start(args.profile, 2, *arguments)
            assert done.returncode == 2, (arguments, done.returncode, done.stderr)
            assert done.stderr.count("error:") == 1 and text in done.stderr, (arguments, done.stderr)
            assert not out.exists(), arguments

        # A slow rank and a waiting rank that spins change no digit.
        data = folder / "text.txt"
        data.write_text("the ring sends rows and a tile waits " * 300)
        losses = []
        for extra in ([], ["--speed-factors", "1,0.4", "--busy-wait", "on"]):
            done = start(args.train, 2, "--model", str(model), "--data", str(data), "--out", str(folder / "run"),
                         "--overwrite", "on", "--steps", "4", "--warmup", "1", "--sequence-length", "32",
                         "--global-batch", "4", "--pipeline-parallel", "2", "--eval-interval", "0", "--export-dir",
                         "none", *extra)
            assert done.returncode == 0, done.stderr
            rows = [json.loads(line) for line in open(folder / "run/metrics.jsonl")]
            losses.append([row["loss"] for row in rows if "seconds" in row])
        assert len(losses[0]) == 4 and losses[0] == losses[1], losses
        done = start(args.train, 2, "--model", str(model), "--data", str(data), "--out", str(folder / "run"),
                     "--sequence-length", "32", "--global-batch", "4", "--steps", "4", "--warmup", "1", "--overwrite", "on",
                     "--speed-factors", "1,2")
        assert done.returncode == 2 and "speed_factors" in done.stderr, done.stderr
    print("ok")


if __name__ == "__main__":
    main()
