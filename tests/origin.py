"""An HTTP/1.1 origin that serves a folder, counts what it is asked for, and misbehaves on request.

It is made of plain sockets, because a well-behaved HTTP library would not let it send a short body or break off.
"""

import contextlib
import dataclasses
import errno
import html
import os
import pathlib
import secrets
import socket
import struct
import threading
import time
import urllib.parse

import namings

#: Outside the range from which kernels give ports to whoever asks for any, who could have one while its origin is stopped.
PORTS = range(10000, 32768)

HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Please come back later.</body></html>"


def listening(port):
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def listening_somewhere():
    while True:
        try:
            return listening(secrets.choice(PORTS))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: tuple[int, int] | None  # half-open; the end may lie behind the end of the file
    headers: dict
    number: int


@dataclasses.dataclass
class Answer:
    """What is sent; `Content-Length` is added."""

    status: int
    headers: list
    body: bytes

    def head(self):
        reason = "OK" if self.status < 400 else "Refused"
        lines = [f"HTTP/1.1 {self.status} {reason}", f"Content-Length: {len(self.body)}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def without(self, *names):
        """The same without headers of these names."""
        return dataclasses.replace(self, headers=[(name, value) for name, value in self.headers if name.lower() not in names])


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to answer wrongly.

    silent       accept the request and say nothing until the client goes
    ok200        the whole file with status 200 though a range was asked for
    short        one byte less than announced, then the connection is closed
    short_clean  one byte less than asked for, and announced so
    long         some bytes more than asked for, and announced so
    other_range  right length, but the bytes (and Content-Range) of another place
    status       an error with `status` and `headers`
    html         status 200 and a page for people
    etag         the right bytes with another ETag
    stall        half of the body, then nothing
    drip         the body by `bytes_per_second`
    close        half of the body, then the connection is closed
    reset        the connection is reset without an answer
    delay        the right answer after `seconds`
    slow_head    the head of the right answer, a byte every half second
    altered      what `alter(request, answer, origin)` makes of the right answer: an Answer, or bytes behind which the connection is closed
    """

    kind: str
    status: int = 503
    headers: tuple = ()
    seconds: float = 0.0
    bytes_per_second: float = 100.0
    alter: object = None


class Origin:
    """`with Origin(folder) as origin:` serves `folder` at `origin.url`.

    `origin.fault` may be set to a function of a Request that returns a Fault or None; it is asked once per request.
    A path that ends in a slash gives the `index.json` of a folder or the file of that name, else a listing as Apache makes it, without the names in
    `origin.unlisted`. `naming`: how a version of a file is told, a function of `namings`. `missing`: the status of what is not there.
    """

    def __init__(self, root, latency=0.0, naming=namings.digest, missing=404):
        self.root = pathlib.Path(root).resolve()
        self.latency = latency
        self.naming = naming
        self.missing = missing
        self.fault = None
        self.unlisted = set()
        self.is_plain = False  # whether a file has no name but its own
        self.requests = []
        self.busy = 0
        self.busiest = 0  # most requests that were open at a time
        self._lock = threading.Lock()
        self._connections = set()
        self._threads = []
        self._listener = None
        self._gone = threading.Event()
        self.port = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.host}"

    def start(self):
        """Listens, on the same port as before where there was one."""
        self._gone = threading.Event()
        self._listener = listening(self.port) if self.port else listening_somewhere()
        self.port = self._listener.getsockname()[1]
        self._accepting = self._spawn(self._accept, self._listener, self._gone)

    def stop(self):
        """Listens no more and drops all connections: clients are refused."""
        self._gone.set()
        # A thread in accept() keeps the port open until it wakes up, so it is woken and waited for: the port is to be free.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(timeout=30)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def forget(self):
        """Starts counting anew."""
        with self._lock:
            self.requests = []

    def count(self, *parts):
        """Number of requests since the last `forget` whose path contains each of `parts`."""
        with self._lock:
            return sum(all(part in request.path for part in parts) for request in self.requests)

    def _spawn(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        return thread

    def _accept(self, listener, gone):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if gone.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            self._spawn(self._converse, connection, gone)

    def _converse(self, connection, gone):
        try:
            with connection, connection.makefile("rb") as reader:
                while not gone.is_set() and (request := self._read(reader)):
                    with self._lock:
                        self.busy += 1
                        self.busiest = max(self.busiest, self.busy)
                    try:
                        if not self._answer(connection, request, gone):
                            return
                    finally:
                        with self._lock:
                            self.busy -= 1
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _read(self, reader):
        line = reader.readline().decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = {}
        while (text := reader.readline().decode("latin-1").strip()):
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        reader.read(int(headers.get("content-length", 0)))
        method, target, _ = line
        path = urllib.parse.unquote(target.partition("?")[0])
        with self._lock:
            request = Request(method, path, parse_range(headers.get("range")), headers, len(self.requests))
            self.requests.append(request)
        return request

    def _file(self, path):
        names = [path + "index.json", path.rstrip("/")] if path.endswith("/") else [path]
        files = [(self.root / name.lstrip("/")).resolve() for name in names]
        return next((file for file in files if file.is_relative_to(self.root) and file.is_file()), None)

    def _listing(self, path):
        folder = (self.root / path.lstrip("/")).resolve()
        if not (path.endswith("/") and folder.is_relative_to(self.root) and folder.is_dir()):
            return None
        rows = ['<tr><th><a href="?C=N;O=D">Name</a></th></tr>', '<tr><td><a href="/">Parent Directory</a></td></tr>']
        for entry in sorted(folder.iterdir()):
            if entry.name not in self.unlisted:
                name = entry.name + ("/" if entry.is_dir() else "")
                href, text = urllib.parse.quote(name), html.escape(name if len(name) < 24 else name[:21] + "..>")
                rows.append(f'<tr><td><a href="{href}">{text}</a></td><td align="right">2023-11-02 10:00  </td><td align="right"> 29M</td></tr>')
        return "\n".join(["<!DOCTYPE HTML>", "<html><body><table>", *rows, "</table></body></html>", ""]).encode()

    def _answer(self, connection, request, gone):
        """Sends one answer; says whether the connection can be used again."""
        fault = self.fault(request) if self.fault else None
        kind = fault.kind if fault else None
        if self.latency:
            time.sleep(self.latency)
        if kind == "delay":
            gone.wait(fault.seconds)
        if kind == "silent":
            wait_until_left(connection, gone)
            return False
        if kind == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if kind == "status":
            body = b"<Error><Code>Fault</Code></Error>"
            return send(connection, request, fault.status, [("Content-Type", "application/xml"), *fault.headers], body)
        if kind == "html":
            return send(connection, request, 200, [("Content-Type", "text/html; charset=utf-8")], HTML)
        if request.method not in ("GET", "HEAD"):
            return send(connection, request, 405, [], b"")
        file = self._file(request.path)
        if file is None and (page := self._listing(request.path)) is not None:
            return self._send(connection, request, Answer(200, [("Content-Type", "text/html;charset=UTF-8")], page), fault, gone)
        if file is None and not self.is_plain and (compressed := self._file(request.path + ".gz")) and request.range is None:
            # As object stores keep what was uploaded with an encoding.
            names = self.naming(compressed, compressed.stat())
            headers = [("Content-Type", "application/octet-stream"), ("Content-Encoding", "gzip"), *names]
            return self._send(connection, request, Answer(200, headers, compressed.read_bytes()), fault, gone)
        if file is None:
            xml = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code></Error>'
            return self._send(connection, request, Answer(self.missing, [("Content-Type", "application/xml")], xml), fault, gone)
        return self._send(connection, request, self.answer_from(request, file, kind), fault, gone)

    def answer_from(self, request, file, kind=None):
        """The answer with what is in `file`, wrong in the way of `kind`."""
        with open(file, "rb") as opened:
            stat = os.fstat(opened.fileno())
            size = stat.st_size
            names = self.naming(file, stat)
            if kind == "etag":
                names = [(name, '"another"' if name == "ETag" else value) for name, value in names]
            wanted = request.headers.get("if-match")
            etag = dict(names).get("ETag")
            if wanted not in (None, "*", etag):
                return Answer(412, names, b"")
            start, end = request.range or (0, size)
            if start < 0:
                start, end = max(0, size + start), size
            ranged = request.range is not None and kind != "ok200"
            if ranged and start >= size:
                return Answer(416, [("Content-Range", f"bytes */{size}")], b"")
            start, end = (start, min(end, size)) if ranged else (0, size)
            if kind == "short_clean":
                end = max(start, end - 1)
            elif kind == "long":
                end = end + 7
            elif kind == "other_range":
                start, end = (start + 1, end + 1) if end < size else (start - 1, end - 1)
            body = os.pread(opened.fileno(), end - start, max(0, start)).ljust(end - start, b"x")
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), *names]
        if ranged:
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{max(size, end)}"))
        return Answer(206 if ranged else 200, headers, body)

    def _send(self, connection, request, answer, fault, gone):
        if fault and fault.kind == "altered":
            answer = fault.alter(request, answer, self)
            if isinstance(answer, bytes):
                connection.sendall(answer)
                return False
        return send(connection, request, answer.status, answer.headers, answer.body, fault, gone)


def send(connection, request, status, headers, body, fault=None, gone=None):
    kind = fault.kind if fault else None
    head = Answer(status, headers, body).head()
    if kind == "slow_head":
        for byte in head:
            connection.sendall(bytes([byte]))
            if gone.wait(0.5):
                return False
    else:
        connection.sendall(head)
    if request.method == "HEAD":
        return True
    if kind == "short":
        connection.sendall(body[:-1])
        return False
    if kind in ("stall", "close"):
        connection.sendall(body[:len(body) // 2])
        if kind == "stall":
            wait_until_left(connection, gone)
        return False
    if kind == "drip":
        for position in range(len(body)):
            connection.sendall(body[position:position + 1])
            if gone.wait(1 / fault.bytes_per_second):
                return False
        return True
    connection.sendall(body)
    return True


def wait_until_left(connection, gone):
    connection.settimeout(0.1)
    while not gone.is_set():
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


def parse_range(text):
    """`bytes=a-b` as half-open (a, b+1); `bytes=a-` up to a huge end; `bytes=-n` as (-n, 0)."""
    if not text or not text.startswith("bytes=") or "," in text:
        return None
    first, _, last = text[6:].partition("-")
    if not first:
        return (-int(last), 0)
    return (int(first), int(last) + 1 if last else 1 << 62)
