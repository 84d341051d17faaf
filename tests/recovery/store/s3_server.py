#!/usr/bin/env python3
"""A real S3 server for the tests: moto's, with one bucket. s3_server.py BUCKET; prints "port N"; ends with its input."""
import logging
import os
import sys

os.environ["S3_UPLOAD_PART_MIN_SIZE"] = "1"  # so that multipart uploads need not be of megabytes

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="any",
             aws_secret_access_key="any").create_bucket(Bucket=sys.argv[1])
print("port", port, flush=True)
sys.stdin.read()
