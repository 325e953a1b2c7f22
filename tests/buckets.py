"""Buckets to export to: moto's S3, and as much of Google Cloud Storage's XML interface as an export asks for."""

import contextlib
import dataclasses
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from xml.sax.saxutils import escape

from mounting import ROOT

MOTO = ROOT / "target" / "venv" / "moto" / "bin" / "moto_server"
BUCKET = "bucket"


@dataclasses.dataclass
class Bucket:
    """`url`: of the bucket as a destination. `environment`: to reach it. `objects()`: all of it by key. `server`: where it is one of
    ours, with the parts of what is not complete as `uploads`, the number of those begun as `count`, and how to answer those who put parts as `fault`."""

    url: str
    environment: dict
    objects: object
    server: object = None


@contextlib.contextmanager
def s3(folder):
    assert MOTO.exists(), f"{MOTO} is missing: scripts/test makes it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(folder / "moto.log", "wb") as output:
        server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
                break
            assert time.monotonic() < deadline and server.poll() is None, (folder / "moto.log").read_text()
            time.sleep(0.2)
        yield Bucket(f"s3://{BUCKET}", os.environ | {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true",
            "XDG_STATE_HOME": str(folder / "state"),
        }, lambda: s3_objects(url))
    finally:
        server.terminate()
        server.wait(20)


def s3_objects(url):
    import botocore.session

    client = botocore.session.get_session().create_client("s3", "us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [found["Key"] for listed in pages for found in listed.get("Contents", [])]
    objects = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    client.close()
    return objects


@contextlib.contextmanager
def gs(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GoogleRequest)
    server.daemon_threads = True
    server.objects, server.uploads, server.lock, server.fault, server.count = {}, {}, threading.Lock(), None, 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Bucket(f"gs://{BUCKET}", os.environ | {
            "GOOGLE_BASE_URL": f"http://127.0.0.1:{server.server_port}", "GOOGLE_ALLOW_HTTP": "true", "GOOGLE_BEARER_TOKEN": "token",
            "XDG_STATE_HOME": str(folder / "state"),
        }, lambda: dict(server.objects), server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class GoogleRequest(http.server.BaseHTTPRequestHandler):
    """Objects are put whole or in parts, read, and listed in pages of ten."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urllib.parse.urlsplit(self.path)
        bucket, _, key = (urllib.parse.unquote(part) for part in address.path[1:].partition("/"))
        query = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
        if self.headers.get("Authorization") != "Bearer token":
            return self.answer(401, b"<Error><Code>AuthenticationRequired</Code></Error>")
        if bucket != BUCKET:
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if self.command == "PUT" and "uploadId" in query and self.server.fault:
            return self.server.fault(self)
        with self.server.lock:
            self.answer(*self.of_object(key, query, body) if key else self.listing(query))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

    def of_object(self, key, query, body):
        objects, uploads = self.server.objects, self.server.uploads
        match self.command:
            case "POST" if "uploads" in query:
                self.server.count += 1
                number = str(self.server.count)
                uploads[number] = {}
                return 200, f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>".encode()
            case "PUT" if "uploadId" in query:
                uploads[query["uploadId"]][int(query["partNumber"])] = body
                return 200, b"", body
            case "POST":
                parts = uploads[query["uploadId"]]
                named = re.findall(r'<Part><ETag>"(\w+)"</ETag><PartNumber>(\d+)</PartNumber></Part>', body.decode())
                if not named or any(tag(parts[int(number)]) != found for found, number in named):
                    return 400, b"<Error><Code>InvalidPart</Code></Error>"
                objects[key] = b"".join(parts[int(number)] for _, number in named)
                del uploads[query["uploadId"]]
                return 200, f"<CompleteMultipartUploadResult><ETag>{tag(objects[key])}</ETag></CompleteMultipartUploadResult>".encode()
            case "PUT":
                objects[key] = body
                return 200, b"", body
            case "DELETE":
                uploads.pop(query.get("uploadId"), None)
                return 204, b""
            case _ if key in objects:
                return 200, objects[key], objects[key]
        return 404, b"<Error><Code>NoSuchKey</Code></Error>"

    def listing(self, query):
        keys = sorted(key for key in self.server.objects if key.startswith(query.get("prefix", "")) and key > query.get("continuation-token", ""))
        page, more = keys[:10], len(keys) > 10
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size><ETag>{tag(self.server.objects[key])}</ETag>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>" for key in page)
        after = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return 200, f"<ListBucketResult>{entries}{after}</ListBucketResult>".encode()

    def answer(self, status, body, tagged=None):
        self.send_response(status)
        if tagged is not None:
            self.send_header("ETag", f'"{tag(tagged)}"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def tag(body):
    return hashlib.md5(body).hexdigest()
