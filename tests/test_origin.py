"""The origin that the other tests rely on does what they ask of it, seen with the standard library's client."""

import http.client
import os
import urllib.error
import urllib.request

import pytest

from origin import Fault, Origin


@pytest.fixture
def origin(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "key").write_bytes(bytes(range(256)) * 40)
    with Origin(tmp_path) as origin:
        yield origin


def get(origin, path="/bucket/key", timeout=5, **headers):
    request = urllib.request.Request(origin.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_a_range_is_answered_with_its_bytes_and_counted(origin):
    status, headers, body = get(origin, Range="bytes=300-309")
    assert (status, headers["Content-Range"]) == (206, "bytes 300-309/10240")
    assert body == bytes(range(44, 54))
    assert [(request.path, request.range) for request in origin.requests] == [("/bucket/key", (300, 310))]


def test_an_etag_is_pinned(origin):
    etag = get(origin)[1]["ETag"]
    assert get(origin, If_Match=etag)[0] == 200
    os.utime(origin.root / "bucket" / "key", (1, 1))
    with pytest.raises(urllib.error.HTTPError) as error:
        get(origin, If_Match=etag)
    assert error.value.code == 412


def test_absent_keys_and_ranges_behind_the_end_are_refused(origin):
    for path, headers, code in [("/bucket/other", {}, 404), ("/../etc/passwd", {}, 404), ("/bucket/key", {"Range": "bytes=99999-"}, 416)]:
        with pytest.raises(urllib.error.HTTPError) as error:
            get(origin, path, **headers)
        assert error.value.code == code


def test_faults_are_seen_by_the_client(origin):
    right = get(origin)[2]

    def with_fault(*arguments, **fields):
        origin.fault = lambda request: Fault(*arguments, **fields)

    with_fault("ok200")
    assert get(origin, Range="bytes=1-2")[0] == 200
    with_fault("short")
    with pytest.raises(http.client.IncompleteRead):
        get(origin)
    with_fault("short_clean")
    assert len(get(origin, Range="bytes=10-19")[2]) == 9
    with_fault("long")
    assert len(get(origin, Range="bytes=10-19")[2]) == 17
    with_fault("other_range")
    assert get(origin, Range="bytes=10-19")[1]["Content-Range"] == "bytes 11-20/10240"
    with_fault("status", 429, (("Retry-After", "1"),))
    with pytest.raises(urllib.error.HTTPError) as error:
        get(origin)
    assert (error.value.code, error.value.headers["Retry-After"]) == (429, "1")
    with_fault("html")
    assert get(origin)[2].startswith(b"<!DOCTYPE")
    with_fault("etag")
    assert get(origin)[1]["ETag"] == '"another"'
    with_fault("close")
    with pytest.raises(http.client.IncompleteRead):
        get(origin)
    with_fault("delay", seconds=0.01)
    assert get(origin)[2] == right
    for kind in ("silent", "stall", "reset"):
        with_fault(kind)
        with pytest.raises(OSError):
            get(origin, timeout=0.3)
    with_fault("drip", bytes_per_second=1000)
    assert get(origin, Range="bytes=0-9")[2] == right[:10]


def test_it_can_stop_and_come_back_at_the_same_port(origin):
    right = get(origin)[2]
    url = origin.url
    origin.stop()
    with pytest.raises(OSError):
        get(origin, timeout=1)
    origin.start()
    assert origin.url == url
    assert get(origin)[2] == right
