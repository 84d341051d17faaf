#!/usr/bin/env python3
"""Stands between the object store and an S3 server and does what networks and servers do.

  fault_proxy.py UPSTREAM_PORT ACCESS_KEY_ID SECRET_ACCESS_KEY [CERTIFICATE KEY]

Prints "port N". Each line on standard input is a command, answered by one line:

  fault KIND COUNT [METHOD [WORD]]   the next COUNT requests of that method whose target contains WORD
  clear                              no faults any more
  count [METHOD [WORD]]              how many requests there were since the last `forget`
  forget

Every request's signature is computed again by botocore, and one that differs is answered 403
SignatureDoesNotMatch: the test server behind does not look at signatures. BUCKET.localhost is made /BUCKET.
With a certificate it speaks HTTPS.
"""
import asyncio
import hashlib
import socket
import ssl
import struct
import sys

FAULTS = {
    "500": "500 Internal Server Error", "502": "502 Bad Gateway", "503": "503 Slow Down", "504": "504 Gateway Timeout",
    "429": "429 Too Many Requests", "507": "507 Insufficient Storage", "403": "403 Forbidden", "400": "400 Bad Request",
    "reset": "connection reset, request not forwarded", "reset_after": "forwarded, then reset",
    "stall": "no answer", "stall_body": "half an answer, then nothing", "truncate": "half an answer, then closed",
    "wrong_bytes": "a bit of the answer's body flipped", "wrong_upload": "a bit of the request's body flipped",
    "garbage": "bytes that are not HTTP", "empty": "200 without a body", "half_xml": "half the body as a whole answer",
    "error_in_200": "200 with an error document", "echo": "403 that says back all the request's headers",
    "gone": "forwarded, then 404 NoSuchUpload", "wrong_range": "206 with another Content-Range", "ignore_range": "the whole object as 200", "slow": "8 MB/s",
    "think": "answers after 3 s",
}
CODES = {"500": "InternalError", "502": "", "503": "SlowDown", "504": "", "429": "TooManyRequests",
         "507": "QuotaExceeded", "403": "AccessDenied", "400": "InvalidArgument"}
STALL_S = 30


class Faults:
    def __init__(self):
        self.rules, self.requests = [], []

    def next_fault(self, method, target):
        self.requests.append((method, target))
        for rule in self.rules:
            if rule[1] > 0 and matches(rule[2:], method, target):
                rule[1] -= 1
                return rule[0]
        return None

    def command(self, words):
        name, rest = words[0], words[1:]
        if name == "fault" and rest[0] in FAULTS:
            self.rules.append([rest[0], int(rest[1]), *rest[2:]])
        elif name == "clear":
            self.rules = []
        elif name == "forget":
            self.requests = []
        elif name == "count":
            return str(sum(matches(rest, *request) for request in self.requests))
        else:
            return "unknown command"
        return "ok"


def matches(pattern, method, target):
    return (not pattern or pattern[0] in ("*", method)) and (len(pattern) < 2 or pattern[1] in target)


def right_signature(head, body, access, secret):
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    method, target, headers = head
    given = headers.get("authorization", "")
    if f"Credential={access}/" not in given:
        return False
    if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
        return False
    _, region, service = given.split("Credential=")[1].split(",")[0].split("/")[1:4]
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
    if unsigned or not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed):
        return False
    request = AWSRequest(method=method, url=f"http://{headers['host']}{target}",
                         headers={name: headers[name] for name in signed})
    request.context["timestamp"] = headers["x-amz-date"]
    auth = S3SigV4Auth(Credentials(access, secret, headers.get("x-amz-security-token")), service, region)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return given.endswith(f"Signature={signature}")


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return lines[0], headers


async def read_body(reader, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length", "0")))


def message(first_line, headers, body, length=None):
    headers = {n: v for n, v in headers.items() if n not in ("transfer-encoding", "connection", "content-length")}
    headers["content-length"] = str(len(body) if length is None else length)
    return (first_line + "\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode("latin-1") + body


def error(status, code, text=""):
    body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{text}</Message></Error>" if code else "<html>"
    return message(f"HTTP/1.1 {status}", {"content-type": "application/xml"}, body.encode())


def flipped(body):
    if not body:
        return body
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1:]


class Reset(Exception):
    pass


class Proxy:
    def __init__(self, upstream, credentials):
        self.upstream, self.credentials, self.faults = upstream, credentials, Faults()
        self.one_at_a_time = asyncio.Lock()  # the server behind loses objects that are replaced while being read

    async def forward(self, method, target, headers, body):
        async with self.one_at_a_time:
            return await self.forward_alone(method, target, headers, body)

    async def forward_alone(self, method, target, headers, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            headers = {n: v for n, v in headers.items() if n not in ("expect", "transfer-encoding", "connection")}
            headers["connection"] = "close"
            head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n"
            writer.write(head.encode("latin-1") + body)
            await writer.drain()
            status, answer = await read_message(reader)
            if method == "HEAD" or " 204 " in status or " 304 " in status:
                return status, answer, b"", int(answer.get("content-length", "0"))
            return status, answer, await read_body(reader, answer), None
        finally:
            writer.close()

    async def answer(self, writer, method, target, headers, body):
        fault = self.faults.next_fault(method, target)
        if fault in CODES:
            return error(FAULTS[fault], CODES[fault], "by the fault proxy")
        if fault == "echo":
            return error("403 Forbidden", "AccessDenied", " ".join(f"{n}: {v}" for n, v in headers.items()))
        if fault == "garbage":
            return b"SSH-2.0-OpenSSH\r\n\r\n"
        if fault == "reset":
            raise Reset
        if fault == "stall":
            await asyncio.sleep(STALL_S)
            raise Reset
        if not right_signature((method, target, headers), body, *self.credentials):
            return error("403 Forbidden", "SignatureDoesNotMatch", "computed another")
        bucket, _, domain = headers["host"].partition(".")
        if domain.startswith("localhost"):
            target, headers = f"/{bucket}{target}", {**headers, "host": domain}
        if fault == "wrong_upload":
            body = flipped(body)
        if fault == "ignore_range":
            headers = {n: v for n, v in headers.items() if n != "range"}
        status, answer, content, head_length = await self.forward(method, target, headers, body)
        if fault == "reset_after":
            raise Reset
        if fault == "think":
            await asyncio.sleep(3)
        if fault == "gone":
            return error("404 Not Found", "NoSuchUpload")
        if fault == "empty":
            return message("HTTP/1.1 200 OK", {}, b"")
        if fault == "error_in_200":
            return error("200 OK", "InternalError")
        if fault == "half_xml":
            content = content[: len(content) // 2]
        if fault == "wrong_bytes":
            content = flipped(content)
        if fault == "wrong_range":
            answer["content-range"] = "bytes 1-2/3"
        whole = message(status, answer, content, head_length)
        if fault in ("truncate", "stall_body"):
            writer.write(whole[: len(whole) - max(1, len(content) // 2)])
            await writer.drain()
            if fault == "stall_body":
                await asyncio.sleep(STALL_S)
            raise EOFError
        if fault == "slow":
            for at in range(0, len(whole), 80_000):
                writer.write(whole[at:at + 80_000])
                await writer.drain()
                await asyncio.sleep(0.01)
            return b""
        return whole

    async def serve(self, reader, writer):
        try:
            while True:
                first_line, headers = await read_message(reader)
                method, target, _ = first_line.split(" ")
                body = await read_body(reader, headers)
                writer.write(await self.answer(writer, method, target, headers, body))
                await writer.drain()
        except Reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (EOFError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def commands(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(self.faults.command(line.split()), flush=True)


async def main():
    proxy = Proxy(int(sys.argv[1]), sys.argv[2:4])
    tls = None
    if len(sys.argv) > 4:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*sys.argv[4:6])
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await proxy.commands()


if __name__ == "__main__":
    asyncio.run(main())
