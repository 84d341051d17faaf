#!/usr/bin/env python3
"""Writes sigv4_vectors.json: requests of the kinds the object store sends, signed by botocore.

  python3 -m venv V && V/bin/pip install botocore==1.44.8
  V/bin/python tests/recovery/store/make_sigv4_vectors.py > tests/recovery/store/sigv4_vectors.json
"""
import datetime
import hashlib
import json
import random
import urllib.parse

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY_CHARACTERS = "abcXYZ019._-"
QUERY_CHARACTERS = "abcXYZ019._-/ +=&%?~*:\"'<>é"


def text(draw, characters, most):
    return "".join(draw.choice(characters) for _ in range(draw.randint(1, most)))


def vector(draw):
    access, secret = "AKIA" + text(draw, "ABCDEFGH234567", 16), text(draw, "abcXYZ019/+", 40)
    token = text(draw, "abcXYZ019/+=", 200) if draw.random() < 0.4 else None
    region = draw.choice(["us-east-1", "eu-west-3", "cn-north-1", "local"])
    key = "/".join(text(draw, KEY_CHARACTERS, 12) for _ in range(draw.randint(1, 4)))
    path = draw.choice(["/", "/bucket-1/"]) + key
    query = draw.choice([[], [("uploads", "")], [("partNumber", "7"), ("uploadId", text(draw, QUERY_CHARACTERS, 30))],
                         [("list-type", "2"), ("prefix", key + "/"), ("max-keys", "10"), ("encoding-type", "url"),
                          ("continuation-token", text(draw, QUERY_CHARACTERS, 30))]])
    method = draw.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
    host = draw.choice(["bucket-1.s3.eu-west-3.amazonaws.com", "localhost:9000", "127.0.0.1:5001"])
    body = text(draw, QUERY_CHARACTERS, 50).encode() if method in ("PUT", "POST") else b""
    headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    if method == "GET" and draw.random() < 0.5:
        headers["range"] = f"bytes={draw.randint(0, 99)}-{draw.randint(100, 1 << 40)}"
    now = datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=draw.randint(0, 10**8))
    url = f"http://{host}{path}" + ("?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote) if query else "")
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    auth = botocore.auth.S3SigV4Auth(Credentials(access, secret, token), "s3", region)
    canonical = auth.canonical_request(request)
    auth._inject_signature_to_request(request, auth.signature(auth.string_to_sign(request, canonical), request))
    return {"access_key_id": access, "secret_access_key": secret, "region": region, "method": method, "path": path,
            "query": query, "headers": sorted([[n.lower(), v] for n, v in request.headers.items()
                                               if n.lower() != "authorization"] + [["host", host]]),
            "body": body.decode(), "time": request.context["timestamp"], "canonical_request": canonical,
            "authorization": request.headers["Authorization"]}


def main():
    draw = random.Random(5)
    print(json.dumps([vector(draw) for _ in range(60)], indent=1))


if __name__ == "__main__":
    main()
