#!/usr/bin/env python3
"""Makes token files for tessera-train from text: Megatron .bin/.idx or llm.c .bin (docs/data.md).

  prepare_data.py --bytes --out data/book book.txt                      a byte is a token; needs no package
  prepare_data.py --tokenizer tokenizer.json --append-eod --json-field text --out data/web web-*.jsonl
  prepare_data.py --vocab vocab.json --merges merges.txt --split-line '' --out data/stories stories.txt

Text goes through in pieces, so memory does not grow with the input: a batch of pieces, and 4 bytes per document
for the index. JSON records are the exception: one is held whole. Output appears under its name when it is
complete, never before. All but --bytes needs the package `tokenizers` (pip install tokenizers).

Exit status: 0 written, 1 reading or writing failed, 2 wrong usage or input, or a full disk; then nothing is written.
"""
import argparse
import array
import errno
import json
import os
import pathlib
import signal
import struct
import sys

MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
LLMC_HEADER_INTS = 256
MOST_TOKENS = 2**31 - 1  # of a Megatron sequence and of an llm.c file: both counts are int32
BATCH_BYTES = 8 << 20  # text that is handed to the tokenizer's threads at a time
EOD_NAMES = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
# name: bytes per token, Megatron's type code, letter of module array
TYPES = {"u8": (1, 1, "B"), "u16": (2, 8, "H"), "i32": (4, 4, "i"), "u32": (4, None, "I")}


class InputError(Exception):
    """What the user can put right: where, what was found, what to do."""

    def __init__(self, where, found, remedy):
        super().__init__(f"{where}: {found}\n  {remedy}")


# ---- tokenizers: encode(pieces) -> packed token bytes per piece ------------------------------------------------


class Bytes:
    """A byte is a token; the end-of-document token, where wanted, is 256."""

    def __init__(self, append_eod):
        self.eod = 256 if append_eod else None
        self.vocabulary = 257 if append_eod else 256
        self.unknown = 0

    def encode(self, pieces, letter):
        if letter == "B":
            return [bytes(piece) for piece, _ in pieces]
        packed = []
        size = array.array(letter).itemsize
        for piece, _ in pieces:
            wide = bytearray(len(piece) * size)
            wide[::size] = piece  # little-endian: the low byte first
            packed.append(wide)
        return packed

    def cut(self, document, limit, where):
        return limit


class HuggingFace:
    def __init__(self, arguments):
        if arguments.threads:
            os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        try:
            import tokenizers
        except ImportError as error:
            raise InputError("package tokenizers", f"cannot be imported ({error})",
                             "run pip install tokenizers in a virtual environment, or use --bytes") from error
        paths = [arguments.tokenizer] if arguments.tokenizer else [arguments.vocab, arguments.merges]
        for path in paths:
            if not os.path.isfile(path):
                raise InputError(path, "no such file", "name the tokenizer's file: tokenizer.json for --tokenizer, "
                                 "vocab.json and merges.txt for --vocab and --merges")
        try:
            if arguments.tokenizer:
                self.tokenizer = tokenizers.Tokenizer.from_file(arguments.tokenizer)
            else:
                self.tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*paths))
                self.tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        except Exception as error:  # the package raises plain Exception
            raise InputError(" and ".join(paths), f"not a tokenizer that the package can read ({error})",
                             "give a Hugging Face tokenizer.json, or GPT-2's vocab.json and merges.txt") from error
        # A tokenizer.json may carry the settings of whoever used it last.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.name = paths[0]
        self.strict = "replace" if arguments.replace_invalid else "strict"
        self.vocabulary = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.eod = self.find_eod(arguments.eod_token) if arguments.append_eod else None
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        self.unknown_id = self.tokenizer.token_to_id(unknown) if unknown else None
        self.unknown = 0

    def find_eod(self, wanted):
        names = [wanted] if wanted else EOD_NAMES
        for name in names:
            if self.tokenizer.token_to_id(name) is not None:
                return self.tokenizer.token_to_id(name)
        raise InputError(self.name, f"has no token {' or '.join(names)}",
                         "name its end-of-document token with --eod-token, or leave --append-eod out")

    def text(self, piece, where, offset):
        try:
            return piece.decode("utf-8", self.strict)
        except UnicodeDecodeError as error:
            raise InputError(where, f"byte 0x{piece[error.start]:02x} at offset {offset + error.start} of the "
                             f"document is not UTF-8 ({error.reason})",
                             "convert the file (iconv -t UTF-8), or pass --replace-invalid") from error

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode(self, pieces, letter):
        texts = [self.text(piece, *origin) for piece, origin in pieces]
        run = getattr(self.tokenizer, "encode_batch_fast", self.tokenizer.encode_batch)  # fast: no offsets
        packed = []
        for encoding in run(texts, add_special_tokens=False):
            if self.unknown_id is not None:
                self.unknown += encoding.ids.count(self.unknown_id)
            packed.append(pack(encoding.ids, letter))
        return packed

    def cut(self, document, limit, where):
        """Where to cut a long document so that its tokens stay what they would have been: between lines, and
        there only if the tokenizer agrees on the text around the cut."""
        at = limit
        while (at := document.rfind(b"\n", 0, at)) >= 0:
            if document[at + 1:at + 2].strip():
                break
        if at < 0:
            raise InputError(where, f"a document with no line break between two lines of text in {limit} bytes",
                             "raise --piece-bytes above the document's longest paragraph, or split the text into "
                             "documents with --split-line")
        at += 1
        left = bytes(document[max(0, at - 256):at]).decode("utf-8", "replace")
        right = bytes(document[at:at + 256]).decode("utf-8", "replace")
        if self.ids(left) + self.ids(right) != self.ids(left + right):
            raise InputError(where, f"a document of over {limit} bytes, and this tokenizer's tokens change where it "
                             "is cut at a line break", "raise --piece-bytes above the length of the longest document")
        return at


def pack(ids, letter):
    values = array.array(letter, ids)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


# ---- input: pieces of documents -----------------------------------------------------------------------------------


def chunks(arguments, limit):
    """(bytes, place) of each document's text in order; None ends a document."""
    for path in arguments.inputs:
        stream = sys.stdin.buffer if path == "-" else open(path, "rb")
        with stream:
            if arguments.json_field is not None:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield json_text(line, arguments.json_field, f"{path}:{number}"), f"{path}:{number}"
                        yield None
                continue
            separator = None if arguments.split_line is None else arguments.split_line.encode()
            number, at_line_start = 1, True
            most = max(limit, len(separator or b"") + 2)  # a separator and its line break fit in one read
            while line := stream.readline(most):
                whole = line.endswith(b"\n") or len(line) < most
                if at_line_start and whole and separator is not None and line.rstrip(b"\r\n") == separator:
                    yield None
                else:
                    yield line, f"{path}:{number}"
                at_line_start = line.endswith(b"\n")
                number += at_line_start
        yield None


def json_text(line, field, where):
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(where, f"not JSON ({error})", "--json-field needs one JSON object a line") from error
    if not isinstance(record, dict):
        raise InputError(where, f"a JSON {type(record).__name__}", "--json-field needs one JSON object a line")
    if not isinstance(record.get(field), str):
        found = f"field {field!r} is a {type(record[field]).__name__}" if field in record else \
            f"no field {field!r}; there are {', '.join(map(repr, record)) or 'none'}"
        raise InputError(where, found, "name a field that holds text with --json-field")
    return record[field].encode("utf-8", "surrogatepass")


def pieces(arguments, tokenizer):
    """((bytes, (place, offset in document)), ends_document): at most --piece-bytes each."""
    limit = arguments.piece_bytes
    document, offset, place = bytearray(), 0, ""
    for chunk in chunks(arguments, limit):
        if chunk is not None:
            if not document and offset == 0:
                place = chunk[1]
            document += chunk[0]
        while len(document) > limit:
            at = tokenizer.cut(document, limit, place)
            yield (bytes(document[:at]), (place, offset)), False
            del document[:at]
            offset += at
        if chunk is None:
            if document:  # pieces are cut with something left, so this is so for each document with text
                yield (bytes(document), (place, offset)), True
            document, offset = bytearray(), 0


def batches(stream):
    batch, size = [], 0
    for item in stream:
        batch.append(item)
        size += len(item[0][0])
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# ---- output -------------------------------------------------------------------------------------------------------


class Output:
    """Files under temporary names beside their own; keep() renames them, drop() removes them."""

    def __init__(self, arguments):
        self.bin = arguments.out + ".bin"
        self.idx = arguments.out + ".idx"
        self.megatron = arguments.format == "megatron"
        found = [path for path in (self.bin, self.idx) if os.path.exists(path)]
        if found and not arguments.overwrite:
            # An .idx makes readers take the .bin beside it for Megatron's, so llm.c output minds it too.
            raise InputError(" and ".join(found), "exists", "choose another --out, or pass --overwrite")
        pathlib.Path(self.bin).parent.mkdir(parents=True, exist_ok=True)
        self.mark = f".part-{os.getpid()}"
        self.files = {}

    def open(self, path):
        self.files[path] = open(path + self.mark, "xb")
        return self.files[path]

    def keep(self):
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        if os.path.exists(self.idx):
            os.remove(self.idx)  # an old index and a new .bin must never stand side by side
        for path in self.files:
            os.replace(path + self.mark, path)
        self.files = {}

    def drop(self):
        for path, file in self.files.items():
            try:
                file.close()
            except OSError:
                pass  # a full disk, reported where it was met first
            os.remove(path + self.mark)
        self.files = {}


def write_megatron_index(file, lengths, type_name):
    """One sequence per document."""
    size, code, _ = TYPES[type_name]
    file.write(MEGATRON_MAGIC + struct.pack("<QBQQ", 1, code, len(lengths), len(lengths) + 1))
    step = 1 << 16
    for begin in range(0, len(lengths), step):
        file.write(pack(lengths[begin:begin + step], "i"))
    at = 0
    for begin in range(0, len(lengths), step):
        pointers = []
        for length in lengths[begin:begin + step]:
            pointers.append(at)
            at += length * size
        file.write(pack(pointers, "q"))
    for begin in range(0, len(lengths) + 1, step):
        file.write(pack(range(begin, min(begin + step, len(lengths) + 1)), "q"))


def llmc_header(type_name, tokens):
    magic, version = (20240520, 1) if type_name == "u16" else (20240801, 7)
    return struct.pack("<3i", magic, version, tokens).ljust(4 * LLMC_HEADER_INTS, b"\0")


def type_for(vocabulary, form):
    if form == "llmc":
        return "u16" if vocabulary <= 65536 else "u32"
    # Megatron-LM's own rule, but for bytes.
    return "u8" if vocabulary <= 256 else "u16" if vocabulary < 65500 else "i32"


def tokenise(arguments, tokenizer, output):
    type_name = type_for(tokenizer.vocabulary, arguments.format)
    size, _, letter = TYPES[type_name]
    file = output.open(output.bin)
    if not output.megatron:
        file.write(llmc_header(type_name, 0))
    eod = b"" if tokenizer.eod is None else pack([tokenizer.eod], letter)
    lengths, length, tokens, text_bytes = array.array("i"), 0, 0, 0
    for batch in batches(pieces(arguments, tokenizer)):
        for packed, ((piece, (place, _)), ends) in zip(tokenizer.encode([item[0] for item in batch], letter), batch):
            text_bytes += len(piece)
            if ends:
                packed = bytes(packed) + eod
            file.write(packed)
            length += len(packed) // size
            tokens += len(packed) // size
            if (length if output.megatron else tokens) > MOST_TOKENS:
                raise InputError(place, f"over {MOST_TOKENS} tokens in one "
                                 f"{'document' if output.megatron else 'llm.c file, whose count is an int32'}",
                                 "split the text into documents" if output.megatron else
                                 "write several files from parts of the text, or --format megatron")
            if ends and length:
                lengths.append(length)
                length = 0
    if tokens == 0:
        raise InputError(", ".join(arguments.inputs), "no text", "name files that hold text")
    if output.megatron:
        write_megatron_index(output.open(output.idx), lengths, type_name)
    else:
        file.seek(0)
        file.write(llmc_header(type_name, tokens))
    files = [path for path in output.files]
    output.keep()
    return {"files": {path: os.path.getsize(path) for path in files}, "tokens": tokens, "documents": len(lengths),
            "vocabulary": tokenizer.vocabulary, "eod": tokenizer.eod, "token_type": type_name,
            "text_bytes": text_bytes, "unknown_tokens": tokenizer.unknown}


def print_report(report):
    for path, size in report["files"].items():
        print(f"{path}: {size} bytes")
    print(f"tokens      {report['tokens']} ({report['token_type']}), {report['text_bytes'] / report['tokens']:.3f} "
          f"bytes of text each")
    print(f"documents   {report['documents']}" +
          (f", each ended by token {report['eod']}" if report["eod"] is not None else ""))
    print(f"vocabulary  {report['vocabulary']}: the model's vocab_size must be at least this")
    print(f"text        {report['text_bytes']} bytes")
    if report["unknown_tokens"]:
        print(f"warning: {report['unknown_tokens']} tokens are the tokenizer's unknown token: it does not fit this "
              "text", file=sys.stderr)


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="text files, in the order of the output; - is "
                        "standard input")
    parser.add_argument("--out", required=True, metavar="PATH", help="output path without .bin or .idx")
    parser.add_argument("--format", choices=("megatron", "llmc"), default="megatron", help="megatron = .bin and .idx "
                        "with documents (default); llmc = one .bin, which does not record documents")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    group = parser.add_argument_group("tokenizer (one of)")
    group.add_argument("--bytes", action="store_true", help="a byte is a token")
    group.add_argument("--tokenizer", metavar="tokenizer.json", help="Hugging Face tokenizer")
    group.add_argument("--vocab", metavar="vocab.json", help="byte-level BPE as of GPT-2, with --merges")
    group.add_argument("--merges", metavar="merges.txt")
    group = parser.add_argument_group("documents (one of; default: each file is one)")
    group = group.add_mutually_exclusive_group()
    group.add_argument("--split-line", metavar="LINE", help="a line that is exactly LINE ends a document and is not "
                       "part of it; '' = a blank line (--split-line=--- for a line that starts with -)")
    group.add_argument("--json-field", metavar="NAME", help="each line is a JSON object; its field NAME is a "
                       "document")
    group = parser.add_argument_group("tokens")
    group.add_argument("--append-eod", action="store_true", help="end each document with a token: 256 with --bytes, "
                       "else --eod-token")
    group.add_argument("--eod-token", metavar="TOKEN", help=f"default: the first that the tokenizer has of "
                       f"{' '.join(EOD_NAMES)}")
    group.add_argument("--replace-invalid", action="store_true", help="turn what is not UTF-8 into U+FFFD instead of "
                       "stopping")
    group.add_argument("--piece-bytes", type=positive, default=1 << 20, metavar="N", help="documents longer than this "
                       "are tokenised in pieces, cut between lines where the tokens stay the same; default 1 MiB")
    group.add_argument("--threads", type=positive, metavar="N", help="of the tokenizer; default: all cores")
    arguments = parser.parse_args(argv)
    if arguments.split_line == []:  # what argparse of Python up to 3.12 makes of --split-line=--
        arguments.split_line = "--"
    chosen = [arguments.bytes, arguments.tokenizer is not None, bool(arguments.vocab or arguments.merges)]
    if sum(chosen) != 1 or bool(arguments.vocab) != bool(arguments.merges):
        parser.error("give exactly one tokenizer: --bytes, --tokenizer tokenizer.json, or --vocab and --merges "
                     "together")
    if arguments.eod_token is not None and (arguments.bytes or not arguments.append_eod):
        parser.error("--eod-token goes with --append-eod and a tokenizer other than --bytes")
    for ending in (".bin", ".idx"):
        arguments.out = arguments.out.removesuffix(ending)
    for path in arguments.inputs:
        if path != "-" and not os.path.exists(path):
            raise InputError(path, "no such file", "name existing text files, or - for standard input")
        if os.path.isdir(path):
            raise InputError(path, "a directory", f"name its files, as in {os.path.join(path, '*.txt')}")
    return arguments


def main(argv=None):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that temporary files go
    output = None
    try:
        arguments = parse(argv)
        output = Output(arguments)
        tokenizer = Bytes(arguments.append_eod) if arguments.bytes else HuggingFace(arguments)
        report = tokenise(arguments, tokenizer, output)
    except InputError as error:
        print(f"prepare_data: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"prepare_data: {error.filename or 'output'}: {error.strerror}\n  nothing was written; check the disk's "
              "free space and the permissions, then run again", file=sys.stderr)
        return 2 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else 1
    except KeyboardInterrupt:
        print("prepare_data: interrupted; nothing was written", file=sys.stderr)
        return 1
    finally:
        if output is not None:
            output.drop()
    try:
        if arguments.json:
            print(json.dumps(report))
        else:
            print_report(report)
        print(end="", flush=True)
    except BrokenPipeError:  # who read the report has gone; the files are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
    return 0


if __name__ == "__main__":
    sys.exit(main())
