"""The ways in which an answer can be wrong, and when: for an origin to choose from by request."""

import dataclasses
import gzip
import pathlib
import threading
import zlib

from origin import HTML, Answer, Fault

#: Below the folder of an origin: what a login page is redirected to.
LOGIN = "login.html"
#: Beside the folder of an origin: the same files as they were before, with other voxels and dates.
OLDER = "older"


def altered(function):
    """A fault that makes something else of the right answer."""
    return Fault("altered", alter=function)


def is_part(answer):
    return answer.status == 206


def with_body(answer, body):
    return dataclasses.replace(answer, body=body)


def with_header(answer, name, value):
    return dataclasses.replace(answer.without(name.lower()), headers=[*answer.without(name.lower()).headers, (name, value)])


def content_range(answer, start=0, end=0, total=0):
    """The header with its numbers moved; answers without it are left as they are."""
    text = dict(answer.headers).get("Content-Range", "")
    if not is_part(answer) or "-" not in text:
        return answer
    span, _, whole = text.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    return with_header(answer, "Content-Range", f"bytes {int(first) + start}-{int(last) + end}/{int(whole) + total}")


def flipped(request, answer, origin):
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 0x10
    return with_body(answer, bytes(body))


def first_byte_flipped(request, answer, origin):
    return with_body(answer, bytes([answer.body[0] ^ 0x10]) + answer.body[1:] if answer.body else b"")


def zeros(request, answer, origin):
    return with_body(answer, bytes(len(answer.body)))


def empty(request, answer, origin):
    return with_body(answer, b"")


def page(request, answer, origin):
    """A page for people in the place of a part, with the part's headers."""
    return with_body(with_header(answer, "Content-Type", "text/html"), HTML)


def another_total(request, answer, origin):
    return content_range(answer, total=7) if is_part(answer) else with_body(answer, answer.body + b"x" * 7)


def another_place_told(request, answer, origin):
    return content_range(answer, start=1, end=1)


def nameless(request, answer, origin):
    return answer.without("etag", "last-modified", "x-goog-hash", "x-goog-generation")


def compressed(request, answer, origin):
    return with_body(with_header(answer, "Content-Encoding", "gzip"), gzip.compress(answer.body))


def two_lengths(request, answer, origin):
    head = answer.head().replace(b"\r\n\r\n", f"\r\nContent-Length: {len(answer.body) + 9}\r\n\r\n".encode())
    return head + answer.body


def two_ranges(request, answer, origin):
    return dataclasses.replace(answer, headers=[*answer.headers, ("Content-Range", "bytes 3-5/9")])


def garbage_head(request, answer, origin):
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all\r\n\r\n" + answer.body[:100]


def interim_answers(request, answer, origin):
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    return interim + answer.head() + answer.body


def interim_then_garbage(request, answer, origin):
    return b"HTTP/1.1 100 Continue\r\n\r\n\0\0\0\0" + answer.head() + answer.body


def chunks_without_an_end(request, answer, origin):
    head = b"\r\n".join(line for line in answer.head().split(b"\r\n") if not line.startswith(b"Content-Length"))
    half = answer.body[:len(answer.body) // 2]
    return head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"%x\r\n%s\r\n" % (len(half), half)


def several_parts(request, answer, origin):
    body = b"--x\r\nContent-Type: text/plain\r\n\r\n" + answer.body + b"\r\n--x--\r\n"
    return with_body(with_header(answer, "Content-Type", "multipart/byteranges; boundary=x"), body)


def sibling(origin, path):
    """The next file after the one at `path`, in its folder or around it; None if there is no such file."""
    file = origin._file(path)
    folder = file.parent if file else None
    while folder and folder.is_relative_to(origin.root):
        found = sorted(other for other in folder.rglob("*") if other.is_file())
        if len(found) > 1:
            return found[(found.index(file) + 1) % len(found)]
        folder = folder.parent
    return None


def another_body(request, answer, origin):
    """The bytes of another object under the name of this one."""
    other = sibling(origin, request.path)
    if other is None or answer.status not in (200, 206):
        return answer
    data = other.read_bytes()
    if is_part(answer):
        start = max(0, min(request.range[0], len(data) - len(answer.body)))
        data = data[start:start + len(answer.body)].ljust(len(answer.body), b"x")
    return with_body(answer, data)


def another_object(request, answer, origin):
    """Another object with its own name and length."""
    other = sibling(origin, request.path)
    return answer if other is None else origin.answer_from(request, other)


def older_version(request, answer, origin):
    """The object as it was before, as a mirror that lags gives it."""
    file = origin._file(request.path)
    older = file and origin.root.parent / OLDER / file.relative_to(origin.root)
    return origin.answer_from(request, older) if older and older.exists() else answer


def status(code, *headers):
    return Fault("status", code, headers)


#: Name: what is answered.
MODES = {
    **{str(code): status(code) for code in (400, 401, 403, 404, 410, 416, 500, 502, 503)},
    "204": altered(lambda request, answer, origin: Answer(204, [], b"")),
    "304": altered(lambda request, answer, origin: Answer(304, answer.headers, b"")),
    "429": status(429),
    "429-wait": status(429, ("Retry-After", "1")),
    "503-wait": status(503, ("Retry-After", "1")),
    "redirect-to-404": status(302, ("Location", "/nowhere/at/all")),
    "redirect-refused": status(302, ("Location", "http://127.0.0.1:1/")),
    "redirect-to-login": status(302, ("Location", f"/{LOGIN}")),
    "html": Fault("html"),
    "html-206": altered(page),
    "empty": altered(empty),
    "zeros": altered(zeros),
    "flip": altered(flipped),
    "cut": Fault("short"),
    "short": Fault("short_clean"),
    "long": Fault("long"),
    "other-range": Fault("other_range"),
    "range-lies": altered(another_place_told),
    "total": altered(another_total),
    "total-later": altered(another_total),
    "other-etag": Fault("etag"),
    "no-name": altered(nameless),
    "gzip": altered(compressed),
    "reset": Fault("reset"),
    "close": Fault("close"),
    "stall": Fault("stall"),
    "drip": Fault("drip", bytes_per_second=50),
    "silent": Fault("silent"),
    "slow-head": Fault("slow_head"),
    "two-lengths": altered(two_lengths),
    "two-ranges": altered(two_ranges),
    "garbage-head": altered(garbage_head),
    "interim": altered(interim_answers),
    "interim-garbage": altered(interim_then_garbage),
    "chunked-cut": altered(chunks_without_an_end),
    "multipart": altered(several_parts),
    "ok200": Fault("ok200"),
    "other-body": altered(another_body),
    "other-object": altered(another_object),
    "older": altered(older_version),
}
#: Modes whose first answer for each path is right.
LATER = {"total-later"}


class Trigger:
    """Gives `fault` once, sometimes or always, of the requests that `concerns` says yes to, while it is `on`."""

    def __init__(self, fault, often, concerns=lambda request: True, seed="", later=False):
        self.fault, self.often, self.concerns, self.seed, self.later = fault, often, concerns, seed, later
        self.on = False
        self.given = 0
        self._asked = {}
        self._lock = threading.Lock()

    def __call__(self, request):
        if not self.on or request.path == f"/{LOGIN}" or not self.concerns(request):
            return None
        with self._lock:
            key = (request.path, request.range)
            self._asked[key] = nth = self._asked.get(key, 0) + 1
            self._asked[request.path] = before = self._asked.get(request.path, 0) + 1
            if self.later and before == 1:
                return None
            # By what is asked for, so that it does not matter in which order requests arrive.
            drawn = zlib.crc32(f"{self.seed} {key} {nth}".encode()) % 100 < 30
            if {"once": self.given == 0, "sometimes": drawn, "always": True}[self.often]:
                self.given += 1
                return self.fault
        return None


def write_login_page(root):
    (pathlib.Path(root) / LOGIN).write_bytes(HTML)
