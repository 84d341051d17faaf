#!/usr/bin/env python3
"""scripts/prepare_data.py --bytes against layouts written out by hand, and tessera-train on what it wrote.

  prepare_data_test.py --script scripts/prepare_data.py --program build/mpi/bin/tessera-train
"""
import argparse
import errno
import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = None
MODEL = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=32, intermediate_size=64,
             num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=16,
             max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
             tie_word_embeddings=False, initializer_range=0.02)


class PrepareData(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.out = self.folder / "out"

    def text(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def run_script(self, *arguments, stdin=None, **options):
        return subprocess.run([sys.executable, OPTIONS.script, *arguments], input=stdin, capture_output=True, **options)

    def prepare(self, *arguments, **options):
        done = self.run_script("--bytes", "--json", "--out", self.out, *arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def refused(self, words, *arguments, code=2, **options):
        before = sorted(os.listdir(self.folder))
        done = self.run_script(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        for word in words:
            self.assertIn(word, done.stderr.decode())
        self.assertEqual(sorted(os.listdir(self.folder)), before, "a refused run left files")

    def bin(self):
        return self.out.with_suffix(".bin").read_bytes()

    def documents(self):
        """Documents of a Megatron pair with one sequence each, read field by field."""
        index = self.out.with_suffix(".idx").read_bytes()
        self.assertEqual(index[:9], b"MMIDIDX\x00\x00")
        version, code, count, marks = struct.unpack_from("<QBQQ", index, 9)
        self.assertEqual((version, marks), (1, count + 1))
        letter = {1: "B", 8: "H", 4: "i"}[code]
        lengths = struct.unpack_from(f"<{count}i", index, 34)
        pointers = struct.unpack_from(f"<{count}q", index, 34 + 4 * count)
        self.assertEqual(struct.unpack_from(f"<{marks}q", index, 34 + 12 * count), tuple(range(marks)))
        self.assertEqual(len(index), 34 + 12 * count + 8 * marks)
        data, size = self.bin(), struct.calcsize(letter)
        found = [list(struct.unpack_from(f"<{n}{letter}", data, at)) for n, at in zip(lengths, pointers)]
        self.assertEqual(sum(lengths) * size, len(data))
        return found

    def test_megatron_bytes_are_these(self):
        report = self.prepare("--split-line=--", "--append-eod", self.text("a", b"hi\n--\n\xff\n"))
        self.assertEqual(self.bin(), bytes([104, 0, 105, 0, 10, 0, 0, 1, 255, 0, 10, 0, 0, 1]))
        expected = (b"MMIDIDX\x00\x00" + b"\x01" + bytes(7) + b"\x08" + b"\x02" + bytes(7) + b"\x03" + bytes(7) +
                    b"\x04\x00\x00\x00" b"\x03\x00\x00\x00" +  # tokens of each sequence
                    bytes(8) + b"\x08" + bytes(7) +  # where each begins in the .bin, in bytes
                    bytes(8) + b"\x01" + bytes(7) + b"\x02" + bytes(7))  # first sequence of each document, end
        self.assertEqual(self.out.with_suffix(".idx").read_bytes(), expected)
        self.assertEqual((report["tokens"], report["documents"], report["vocabulary"], report["text_bytes"]),
                         (7, 2, 257, 5))

    def test_llmc_bytes_are_these(self):
        self.prepare("--format", "llmc", self.text("a", b"hi\n"))
        header = struct.pack("<3i", 20240520, 1, 3) + bytes(1012)
        self.assertEqual(self.bin(), header + b"h\0i\0\n\0")
        self.assertFalse(self.out.with_suffix(".idx").exists())

    def test_bytes_without_eod_are_the_text_itself(self):
        text = bytes(range(256)) * 50
        self.prepare("--piece-bytes", "999", self.text("a", text))
        self.assertEqual(self.bin(), text)
        self.assertEqual(self.documents(), [list(text)])

    def test_files_are_documents(self):
        self.prepare(self.text("a", b"one"), self.text("empty", b""), self.text("b", b"three"))
        self.assertEqual(self.documents(), [list(b"one"), list(b"three")])

    def test_split_line_wherever_pieces_are_cut(self):
        parts = [b"a\nbb\n", b"c" * 100 + b"\n", b"--no\n --\n", b"end without a line break--"]
        text = b"--\n" + b"--\r\n--\n".join(parts) + b"\n--"
        parts[-1] += b"\n"
        for piece in (3, 5, 16, 1000):
            self.prepare("--overwrite", "--split-line=--", "--piece-bytes", str(piece), self.text("a", text))
            self.assertEqual(self.documents(), [list(part) for part in parts], f"pieces of {piece}")

    def test_blank_line_separates_on_standard_input(self):
        self.prepare("--split-line", "", "-", stdin=b"a\n\n\nb\nc\n\n")
        self.assertEqual(self.documents(), [list(b"a\n"), list(b"b\nc\n")])

    def test_json_lines(self):
        lines = [json.dumps({"id": 1, "text": "Grüße\n"}), "", json.dumps({"text": ""}), json.dumps({"text": "x"})]
        self.prepare("--json-field", "text", self.text("a", "\n".join(lines).encode()))
        self.assertEqual(self.documents(), [list("Grüße\n".encode()), list(b"x")])

    def test_memory_does_not_grow_with_the_input(self):
        path = self.folder / "big"
        with open(path, "wb") as file:
            for _ in range(128):
                file.write(b"a longer line of text, as is in books\n" * (1 << 15))  # over 100 MiB in all
        # A batch of 8 MiB exists once as text and once as tokens of two bytes, beside the interpreter.
        limit = 80 << 20
        report = self.prepare("--append-eod", path,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.assertEqual(report["tokens"], path.stat().st_size + 1)

    def test_refusals_say_what_to_do(self):
        text = self.text("a", b"words\n")
        out = ["--out", self.out]
        self.refused(["no such file", str(self.folder / "absent")], "--bytes", *out, self.folder / "absent")
        self.refused(["a directory", "*.txt"], "--bytes", *out, self.folder)
        self.refused(["exactly one tokenizer"], *out, text)
        self.refused(["exactly one tokenizer"], "--bytes", "--vocab", "v", "--merges", "m", *out, text)
        self.refused(["--eod-token"], "--bytes", "--append-eod", "--eod-token", "</s>", *out, text)
        self.refused(["no text"], "--bytes", *out, self.text("empty", b""))
        records = self.text("r", b'{"text": "a"}\n{"body": "b"}\n')
        self.refused([f"{records}:2", "no field 'text'", "'body'"], "--bytes", "--json-field", "text", *out, records)
        self.refused([f"{text}:1", "not JSON"], "--bytes", "--json-field", "text", *out, text)

    def test_existing_output_stays_unless_told(self):
        text = self.text("a", b"new")
        for ending in (".bin", ".idx"):
            old = self.out.with_suffix(ending)
            old.write_bytes(b"old")
            self.refused([str(old), "--overwrite"], "--bytes", "--out", self.out, "--format", "llmc", text)
            self.assertEqual(old.read_bytes(), b"old")
        # With the old .idx beside it, llm.c output would be read as Megatron's.
        self.prepare("--format", "llmc", "--overwrite", text)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "out.bin"])

    def test_a_full_disk_leaves_nothing(self):
        text = self.text("a", b"words\n" * 10000)
        # A limit on file size stands in for the disk's end; with the signal ignored, write() reports EFBIG.
        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        self.refused([os.strerror(errno.EFBIG), "nothing was written"], "--bytes", "--out", self.out, text,
                     preexec_fn=limited)

    def test_termination_leaves_nothing(self):
        command = [sys.executable, OPTIONS.script, "--bytes", "--out", self.out, "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdin.write(b"words\n" * 100000)
            deadline = time.monotonic() + 60
            while not os.listdir(self.folder) and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertTrue(os.listdir(self.folder), "no temporary file appeared")
            process.terminate()
            self.assertEqual(process.wait(60), 1)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_reader_of_the_report_may_go(self):
        for json_flag in ([], ["--json"]):
            read, write = os.pipe()
            os.close(read)
            command = [sys.executable, OPTIONS.script, "--bytes", "--overwrite", "--out", self.out, *json_flag,
                       self.text("a.txt", b"text")]
            done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
            os.close(write)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(self.bin(), b"text")

    def train(self, vocabulary):
        model = self.text("model.json", json.dumps(MODEL | {"vocab_size": vocabulary}).encode())
        return subprocess.run(
            [OPTIONS.program, "--local-ranks", "1", "--model", model, "--data", self.out.with_suffix(".bin"), "--out",
             self.folder / "run", "--steps", "2", "--warmup", "1", "--sequence-length", "32", "--global-batch", "2",
             "--eval-interval", "0", "--json", "--log-style", "quiet", "--overwrite", "on"], capture_output=True)

    def test_training_reads_each_format(self):
        text = self.text("a", b"In the beginning God created the heaven and the earth.\n\n" * 20)
        for form in ("megatron", "llmc"):
            self.prepare("--format", form, "--split-line", "", "--append-eod", "--overwrite", text)
            done = self.train(257)
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            json.loads(done.stdout)
            # The first document has 55 bytes of text, so its end is token 55.
            done = self.train(256)
            self.assertNotEqual(done.returncode, 0)
            for word in ("token 55", "256"):
                self.assertIn(word, done.stderr.decode(), form)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", required=True)
    parser.add_argument("--program", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
