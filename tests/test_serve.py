"""`emfs serve`: the tree over HTTP, to real clients and to raw requests."""

import concurrent.futures
import http.client
import io
import json
import re
import socket
import struct
import subprocess
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

import reference_volumes
from mounting import configuration, emfs, mounted, wait_for
from origin import Fault, Origin
from serving import CHUNK, first_chunk, served, small_volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("origin")
    return root, small_volume(root)


@pytest.fixture(scope="module")
def server(volume, tmp_path_factory):
    root, made = volume
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)})
        with served(tmp_path_factory.mktemp("serve"), config, "-v") as server:
            yield server


def test_every_file_has_the_bytes_that_it_has_below_a_mountpoint(server, volume, tmp_path):
    root, made = volume
    with Origin(root) as origin, mounted(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)})) as mount:
        for path in sorted(mount.path.rglob("*")):
            name = path.relative_to(mount.path).as_posix()
            if path.is_dir() or "metadata" in name or name.endswith((".csv", "README.md", "croissant.json")) or "/upstream/" in name:
                continue
            assert server.get(f"/{name}")[::2] == (200, path.read_bytes()), name


def test_zarr_python_over_http_reads_the_voxels(server, volume):
    import zarr

    for store in ("em.zarr", "em.v3.zarr", "em.chunk-16.zarr", "em.crop-z3-40_y5-90_x7-80.v3.zarr"):
        group = zarr.open_group(f"{server.url}v/{store}", mode="r")
        array = group["s0"][:]
        truth = volume[1].levels[0]
        assert np.array_equal(array, truth[3:40, 5:90, 7:80] if "crop" in store else truth), store


@pytest.mark.parametrize("driver, store", [("zarr", "em.zarr"), ("zarr3", "em.v3.zarr")])
def test_tensorstore_over_http_reads_the_voxels(server, volume, driver, store):
    import tensorstore

    array = tensorstore.open({"driver": driver, "kvstore": f"{server.url}v/{store}/s0/"}, open=True, read=True).result()
    assert np.array_equal(array.read().result(), volume[1].levels[0])


def test_curl_gets_ranges(server, volume, tmp_path):
    whole = first_chunk(volume[1])
    for wanted, part in (("0-9", whole[:10]), ("-5", whole[-5:]), ("65530-99999", whole[65530:])):
        done = subprocess.run(["curl", "-sf", "-r", wanted, f"{server.url}{CHUNK[1:]}"], capture_output=True, check=True)
        assert done.stdout == part, wanted


def test_ranges_are_as_the_standard_says(server, volume):
    whole = first_chunk(volume[1])
    length = len(whole)
    for wanted, status, part, told in (
        ("bytes=0-0", 206, whole[:1], f"bytes 0-0/{length}"),
        ("bytes=100-", 206, whole[100:], f"bytes 100-{length - 1}/{length}"),
        ("bytes=-1000000", 206, whole, f"bytes 0-{length - 1}/{length}"),
        ("bytes=0-1,5-9", 200, whole, None),
        ("lines=1-2", 200, whole, None),
        (f"bytes={length}-", 416, b"", f"bytes */{length}"),
        ("bytes=-0", 416, b"", f"bytes */{length}"),
    ):
        got, headers, body = server.get(CHUNK, Range=wanted)
        assert (got, body, headers["Content-Range"]) == (status, part, told), wanted
        assert headers["Accept-Ranges"] == "bytes" and int(headers["Content-Length"]) == len(body)


def test_head_tells_the_size_and_asks_nobody(server):
    status, headers, body = server.ask("/v/em.zarr/s1/0/0/0", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(32**3 * 2))
    assert server.ask("/v/em.zarr/s1/9/0/0", "HEAD")[0] == 404


def test_who_has_it_already_gets_304(server, volume):
    for path in (CHUNK, "/v/em.zarr/.zattrs", "/v/metadata.json"):
        _, headers, _ = server.get(path)
        tag = headers["ETag"]
        assert server.get(path, If_None_Match=f'"other", W/{tag}')[::2] == (304, b"")
        assert server.get(path, If_None_Match='"other"')[0] == 200
        assert server.get(path, If_Match='"other"')[0] == 412
        assert server.get(path, Range="bytes=0-1", If_Range='"other"')[0] == 200
        assert server.get(path, Range="bytes=0-1", If_Range=tag)[0] == 206
        assert headers["Cache-Control"] == ("no-cache" if path == "/v/metadata.json" else "public, max-age=60, immutable")


def test_browsers_ask_again_for_what_another_server_at_the_address_may_show_otherwise(volume, tmp_path):
    """Files of this machine, alone or as labels beside what is elsewhere: all of the dataset; pictures, wherever they come from."""
    import zarr

    root, made = volume
    local = zarr.open_group(tmp_path / "own.zarr", mode="w", zarr_format=2)
    array = local.create_array("0", shape=(8, 8, 8), dtype="u1", chunks=(8, 8, 8), chunk_key_encoding={"name": "v2", "separator": "/"})
    array[:] = 10
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [8.0, 8.0, 8.0]}]}]
    local.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    here = {"kind": "zarr", "url": str(tmp_path / "own.zarr")}
    with Origin(root) as origin:
        there = reference_volumes.source_at(made, origin)
        mixed = {"source": there, "images": [{"name": "b", "source": there, "labels": [{"name": "l", "source": here}]}]}
        config = configuration({"own": here, "mixed": mixed, "v": there})
        kept = {}
        for voxel in (10, 20):
            array[:] = voxel
            with served(tmp_path, config) as server:
                for path in ("/own/em.zarr/.zattrs", "/own/em.zarr/s0/.zarray", "/own/em.zarr/s0/0/0/0", "/own/em.tif",
                             "/mixed/em.zarr/s0/0/0/0", "/own/em/slice.png?lo=0&hi=255", "/v/em/slice.png"):
                    old = kept.get(path)
                    status, headers, body = server.get(path, **({"If-None-Match": old} if old else {}))
                    assert (status, headers["Cache-Control"]) == (200, "no-cache"), path
                    kept[path] = headers["ETag"]
                    assert server.get(path, If_None_Match=headers["ETag"])[::2] == (304, b""), path
                    assert server.get(path, If_Match='"other"')[0] == 412, path
                assert server.get("/own/em.zarr/s0/0/0/0")[2][0] == voxel
                tag = lambda query: server.get(f"/own/em/slice.png?{query}")[1]["ETag"]
                assert len({tag("z=1"), tag("z=2"), tag("z=2&lo=3"), tag("z=2&axis=y")}) == 4


def test_what_is_shown_as_absent_is_served_under_another_tag_and_no_longer_than_it_is_believed(tmp_path):
    """In a mount that takes a chunk for absent which comes to be there: the chunk, a crop of it, a coarser level that is computed, the
    level as a TIFF file and a picture."""
    root = tmp_path / "files"
    root.mkdir()
    made = reference_volumes.zarr_group(root, "one", shape=(8, 704, 704), dtype="u1", chunks=(8, 352, 352), levels=1, seed=6)
    paths = ["/v/em.zarr/s0/0/0/0", "/v/em.crop-z0-8_y0-20_x0-20.zarr/s0/0/0/0", "/v/em.crop-z0-8_y300-400_x300-400.zarr/s0/0/0/0", "/v/em.zarr/s1/0/0/0", "/v/em.tif"]
    is_chunk = lambda request: request.path.rpartition("/")[2][:1].isdigit() and "/s0/" in request.path
    picture = "/v/em/slice.png?z=1&level=s0"
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)}, {"stall": 60.0})
        with served(tmp_path, config, "--absent-ttl", "2") as server:
            server.get("/v/em.zarr/s0/.zarray")
            origin.fault = lambda request: Fault("status", 404) if is_chunk(request) else None
            passing = {path: server.get(path) for path in paths}
            for path, (status, headers, body) in passing.items():
                assert status == 200 and "immutable" not in headers["Cache-Control"], path
                kept = re.search(r"max-age=(\d+)", headers["Cache-Control"])
                assert int(kept[1]) <= 2 if kept else headers["Cache-Control"] == "no-cache", path
                tag = headers["ETag"]
                assert server.get(path, If_None_Match=tag)[::2] == (304, b""), path
                # A part of it is none of a whole that may be another one by then.
                status, headers, part = server.get(path, Range="bytes=-10")
                assert (status, part, headers["ETag"]) == (206, body[-10:], None) and "immutable" not in headers["Cache-Control"]
                status, headers, part = server.get(path, Range="bytes=0-9", If_Range=tag)
                assert (status, part, headers["ETag"]) == (206, body[:10], tag)
                assert server.get(path, Range="bytes=0-9", If_Range='"other"')[0] == 200
                assert server.get(path, If_Match='"other"')[0] == 412
            assert server.get(picture)[1]["ETag"] is None
            origin.fault = None
            wait_for(lambda: server.get(paths[0])[2] != passing[paths[0]][2], 20, "the chunk is there")
            time.sleep(2.5)  # what rests on others of its blocks as well
            for path, (_, old, zeros) in passing.items():
                status, headers, body = server.get(path, If_None_Match=old["ETag"])
                assert (status, headers["Cache-Control"]) == (200, "public, max-age=60, immutable") and body != zeros, path
                assert headers["ETag"] not in (None, old["ETag"])
                assert server.get(path, Range="bytes=0-9", If_Range=old["ETag"])[0] == 200
                assert server.get(path, Range="bytes=0-9", If_Range=headers["ETag"])[0] == 206
                assert server.get(path, If_None_Match=headers["ETag"])[0] == 304
            assert server.get(paths[0])[2] == made.levels[0][:, :352, :352].tobytes()
            assert server.get(picture)[1]["ETag"]


def test_pages_of_other_origins_may_ask(server):
    status, headers, _ = server.ask(CHUNK, "OPTIONS", Origin="https://example.org", Access_Control_Request_Method="GET",
                                    Access_Control_Request_Headers="range, x-other", Access_Control_Request_Private_Network="true")
    assert status == 204 and headers["Access-Control-Allow-Origin"] == "*" and "GET" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Allow-Headers"] == "range, x-other" and headers["Access-Control-Allow-Private-Network"] == "true"
    for path in (CHUNK, "/v/nothing"):
        _, headers, _ = server.get(path, Origin="https://example.org")
        assert headers["Access-Control-Allow-Origin"] == "*" and "ETag" in headers["Access-Control-Expose-Headers"]
    assert server.ask(CHUNK, "PUT")[0] == 405


def test_only_what_is_not_in_the_grid_is_404(server):
    for path in ("/w", "/v/other.zarr", "/v/em.zarr/s9", "/v/em.zarr/s0/2/0/0", "/v/em.zarr/s0/00/0/0", "/v/em.zarr/s0/0/0/0/",
                 "/v/../v/em.zarr", "/v/%2e%2e/em.zarr", "/v//em.zarr/s0/0/0/0", "/v%2Fem.zarr", "/v/em.zarr/s0/.zgroup", "/%00"):
        assert server.get(path)[0] == 404, path
    assert server.get("/v/%65m.zarr/s0/0/%30/0")[0] == 200
    assert server.get("/v/%zz")[0] == 400


def test_listings_are_for_people_and_programs(server):
    listed = json.loads(server.get("/v/em.zarr/?format=json")[2])
    assert {entry["name"]: entry["type"] for entry in listed} == {
        ".zgroup": "file", ".zattrs": "file", ".zmetadata": "file", "s0": "directory", "s1": "directory"}
    assert listed == json.loads(server.get("/v/em.zarr", Accept="application/json")[2])
    status, headers, _ = server.get("/v/em.zarr")
    assert (status, headers["Location"]) == (301, "./em.zarr/")
    import fsspec

    names = fsspec.filesystem("http").ls(f"{server.url}v/em.zarr/s0/", detail=False)
    assert {name.rstrip("/").rpartition("/")[2] for name in names} >= {"0", "1", ".zarray"}


def test_sixty_four_connections_are_served_and_a_silent_one_holds_nobody_up(server, volume):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(64)]
    slow = socket.create_connection(("127.0.0.1", server.port))
    slow.sendall(f"GET {CHUNK} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def fetch(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        bodies = []
        for _ in range(8):
            connection.request("GET", CHUNK)
            bodies.append(connection.getresponse().read())
        connection.close()
        return bodies

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for bodies in pool.map(fetch, range(64)):
            assert all(body == first_chunk(volume[1]) for body in bodies)
    for connection in (*silent, slow):
        connection.close()


def test_clients_that_take_their_time_hold_nobody_up_and_get_all_of_it(server, volume):
    whole = server.get("/v/em.tif")[2]
    assert len(whole) > volume[1].levels[0].nbytes
    asked = lambda path, last="": f"GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode()
    closing, count, slow = "Connection: close\r\n", 12, []
    for _ in range(8):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", server.port))
        client.settimeout(60)
        # More than the system keeps for a connection.
        client.sendall(asked("/v/em.tif") * (count - 1) + asked("/v/em.tif", closing))
        slow.append((client, bytearray()))
    by_letters = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    for letter in asked(CHUNK, closing):
        by_letters.sendall(bytes([letter]))
        for client, got in slow:
            got += client.recv(1024)
        start = time.monotonic()
        assert server.get(CHUNK)[2] == first_chunk(volume[1]) and time.monotonic() - start < 10
    assert b"".join(iter(lambda: by_letters.recv(1 << 16), b"")).endswith(b"\r\n\r\n" + first_chunk(volume[1]))
    by_letters.close()
    for client, got in slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        got = bytes(got) + b"".join(iter(lambda: client.recv(1 << 20), b""))
        for _ in range(count):
            head, _, got = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and got[: len(whole)] == whole
            got = got[len(whole) :]
        assert not got
        client.close()


def reading_nothing(server, path, count):
    """So many clients that ask for a file and take nothing of it."""
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        clients.append(client)
    return clients


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A volume of 16 MiB, in chunks of 64 KiB."""
    root = tmp_path_factory.mktemp("large")
    return root, reference_volumes.zarr_group(root, "large", shape=(64, 512, 256), dtype="<u2", chunks=(32, 32, 32), levels=2, seed=6)


def test_clients_that_take_nothing_of_files_keep_nobody_waiting(large, tmp_path):
    root, made = large
    with Origin(root) as origin, served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)}), "--memory", "32M", "--timeout", "3") as server:
        assert server.get(CHUNK)[2] == first_chunk(made)
        clients = reading_nothing(server, "/v/em.tif", 60)
        time.sleep(1)
        for path in (CHUNK, "/v/em.zarr/s0/1/1/1", "/v/em.zarr/.zattrs", "/README.md", "/v/em/slice.png?level=s1", "/v/em/", "/"):
            start = time.monotonic()
            assert server.get(path)[0] == 200 and time.monotonic() - start < 4, path
        # Who waits for more gives up, too, and gives back what it has, until all room is of those who have enough to take.
        for _ in range(6):
            clients += reading_nothing(server, "/v/em.tif", 30)
            time.sleep(1)
            start = time.monotonic()
            status, headers, _ = server.ask("/v/em.tif", body=False)
            assert time.monotonic() - start < 6
            if status == 503:
                break
        assert status == 503 and int(headers["Retry-After"]) >= 1 and "v/em.tif: there is no room" in server.log
        for client in clients:
            client.close()
        wait_for(lambda: server.get("/v/em.tif", Range="bytes=0-6000000")[0] == 206, 10, "their room is there again")


@pytest.mark.parametrize("rate", [32 << 10, 100 << 10])
def test_a_client_that_is_merely_slow_gets_more_than_its_patience_lasts(large, tmp_path, long, rate):
    if not long:
        pytest.skip("takes more than 30 s")
    root, made = large
    with Origin(root) as origin, served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)})) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(b"GET /v/em.tif HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got, start = 0, time.monotonic()
        while time.monotonic() - start < 75:
            got += len(client.recv(rate // 4))
            time.sleep(max(0.0, start + got / rate - time.monotonic()))
        # What is in the system's buffers comes even of a connection that was broken off; the rest does not.
        while piece := client.recv(1 << 20):
            got += len(piece)
        assert got > made.levels[0].nbytes


def test_requests_behind_others_on_a_connection_leave_the_queues_with_it(large, tmp_path):
    root, made = large
    paths = [f"/v/em.zarr/s0/{z}/{y}/{x}" for z in range(2) for y in range(16) for x in range(4)]
    with Origin(root, latency=1.0) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)}, {"stall": 10.0})
        with served(tmp_path, config) as server:
            assert server.get("/v/em.zarr/s0/.zarray")[0] == 200
            for linger in (struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)):
                before = origin.count()
                client = socket.create_connection(("127.0.0.1", server.port))
                client.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths).encode())
                time.sleep(0.3)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.close()
                # The second one would be carried out before the first answer finds nobody.
                time.sleep(3)
                assert origin.count() - before == 1
                paths.reverse()


def raw(server, request):
    """What comes of these bytes until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def test_a_request_names_its_host_once(server):
    for hosts, status in (("", 400), ("Host: a\r\nHost: a\r\n", 400), ("Host: a\r\n", 200), ("Host:\r\n", 200)):
        for path in ("/v/em.zarr/.zattrs", "/"):
            answer = raw(server, f"GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (hosts, path)
    assert raw(server, b"GET /v/em.zarr/.zattrs HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_head_says_of_pages_and_errors_what_get_says(server):
    for path in ("/", "/v/em/", "/v/em", "/v/none", "/v/em/slice.png", "/v/em/slice.png?z=x", "/v/em.zarr/.zattrs"):
        status, headers, body = server.get(path)
        told, asked, nothing = server.ask(path, "HEAD")
        assert (told, asked["Content-Length"], nothing) == (status, str(len(body)), b""), path
    tag = server.get(CHUNK)[1]["ETag"]
    assert server.ask(CHUNK, "HEAD", If_None_Match=tag)[1]["Content-Length"] is None


def test_what_depends_on_accept_says_so(server):
    for path in ("/", "/v", "/v/", "/v/em.zarr/", "/v/em.zarr/s0/?format=json"):
        for accepted in ("application/json", "text/html"):
            assert server.get(path, Accept=accepted)[1]["Vary"] == "Accept", path
    assert server.get(CHUNK)[1]["Vary"] is None


def test_no_request_forges_a_line_of_the_log(server):
    before = len(server.log)
    for path in ("/v/x%0d%0aERROR%20forged", "/v/em.zarr/%1b%5b2Kforged", "/%0aforged/", "/v/em%0Aforged/slice.png", "/v/em.%0aforged.zarr/"):
        assert server.get(path)[0] in (400, 404), path
    log = server.log[before:]
    assert log.count("forged") >= 5 and "\x1b" not in log and "\r" not in log
    assert all("GET /" in line for line in log.splitlines() if "forged" in line)


def test_a_failure_is_503_with_the_line_of_the_log_and_heals(volume, tmp_path):
    root, made = volume
    origin = Origin(root)
    origin.start()
    with served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)}), "--timeout", "2") as server:
        assert server.get("/v/em.zarr/.zattrs")[0] == 200
        assert server.get(CHUNK)[2] == first_chunk(made)
        origin.stop()
        status, headers, body = server.get("/v/em.zarr/s0/1/1/1")
        assert status == 503 and int(headers["Retry-After"]) >= 1
        reason = body.decode().strip()
        assert reason.startswith("v/em.zarr/s0/1/1/1: ") and reason in server.log
        assert server.get(CHUNK)[2] == first_chunk(made), "what is in memory is still there"
        assert server.get("/v/em.zarr/s0/9/9/9")[0] == 404
        import zarr

        with pytest.raises(Exception):
            zarr.open_group(f"{server.url}v/em.zarr", mode="r")["s0"][32:, 32:64, 32:64]
        origin.start()
        wait_for(lambda: server.get("/v/em.zarr/s0/1/1/1")[0] == 200, 20, "the origin is back")
    origin.stop()


def test_an_image_that_cannot_be_opened_is_503_and_says_why(tmp_path):
    with served(tmp_path, configuration({"v": {"kind": "zarr", "url": "http://127.0.0.1:9/none"}}), "--timeout", "1") as server:
        for path in ("/v/em.zarr/.zattrs", CHUNK, "/v/em/slice.png"):
            status, _, body = server.get(path)
            assert status == 503 and b"127.0.0.1:9" in body, (path, status, body)
        assert b"127.0.0.1:9" in server.get("/v/em.zarr/ERROR.txt")[2]


def test_aborted_requests_leave_the_queues(volume, tmp_path, long):
    root, made = volume
    count = 10_000 if long else 1000
    with Origin(root, latency=0.3) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)}, {"connections": 2})
        with served(tmp_path, config, "--timeout", "20") as server:
            assert server.get("/v/em.zarr/s0/.zarray")[0] == 200
            before = origin.count()
            for number in range(count):
                z, y, x = number % 16, number // 16 % 24, number // 384 % 20
                connection = socket.create_connection(("127.0.0.1", server.port))
                connection.sendall(f"GET /v/em.chunk-16.zarr/s0/{z % 4}/{y % 6}/{x % 5} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                # Broken off at once: a reset, no goodbye.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            asked = lambda: server.status()["hosts"][f"127.0.0.1:{origin.port}"]

            def is_quiet():
                settled = origin.count()
                time.sleep(1.5)
                return origin.count() == settled and asked()["in_flight"] == 0

            wait_for(is_quiet, 20, "nobody is asked any more")
            start = time.monotonic()
            assert server.get(CHUNK)[2] == first_chunk(made)
            assert time.monotonic() - start < 10
            assert origin.count() - before <= 30


def test_an_aborted_request_ends_the_work_for_what_it_is_computed_of(tmp_path):
    planes = reference_volumes.imagej(tmp_path, "planes", (40, 1400, 1400), "u1", 3)
    path = "/v/em.chunk-40x350x350.zarr/s2/0/0/0"
    with Origin(tmp_path) as origin:
        config = configuration({"v": reference_volumes.source_at(planes, origin)}, {"connections": 2})
        with served(tmp_path, config, "--timeout", "60") as server:
            assert server.get("/v/em.chunk-40x350x350.zarr/s2/.zarray")[0] == 200
            # There is a request for each plane.
            before, origin.latency = origin.count(), 1
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: origin.count() > before, 20, "a block is asked for")
            connection.close()
            asked = lambda: server.status()["hosts"][f"127.0.0.1:{origin.port}"]

            def is_quiet():
                settled = origin.count()
                time.sleep(3)
                return origin.count() == settled and asked()["in_flight"] == 0

            wait_for(is_quiet, 40, "nobody is asked any more")
            assert origin.count() - before < 30
            origin.latency = 0
            # Each level by the rule, from what was given up.
            level = planes.levels[0]
            for _ in range(2):
                depth, height, width = level.shape
                level = np.rint(level.reshape(depth, height // 2, 2, width // 2, 2).mean(axis=(2, 4))).astype("u1")
            assert server.get(path)[2] == level.tobytes()


def test_status_tells_of_a_server_by_its_address(volume, tmp_path):
    root, made = volume
    origin = Origin(root)
    origin.start()
    with served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)}), "--timeout", "2") as server:
        mark = emfs("mark", server.url).stdout.strip()
        assert server.get(CHUNK)[0] == 200
        origin.stop()
        assert server.get("/v/em.zarr/s0/1/1/1")[0] == 503
        found = server.status()
        assert (found["url"], found["mountpoint"], found["pid"]) == (server.url, None, server.process.pid)
        text = emfs("status", f"http://localhost:{server.port}").stdout
        assert text.startswith(f"{server.url}: emfs ") and f"\n127.0.0.1:{origin.port} " in text and "v/em.zarr/s0/1/1/1: " in text
        done = emfs("status", server.url, "--failed", "--since", mark, check=False)
        assert done.returncode == 1 and "v/em.zarr/s0/1/1/1: " in done.stdout
    done = emfs("status", server.url, check=False)
    assert done.returncode == 1 and "emfs serve" in done.stderr


def test_a_slice_is_a_picture_in_its_window(server, volume):
    from PIL import Image

    for query, wanted in (("level=s0&axis=z&z=3", lambda a: a[3]), ("level=1&axis=y&z=5", lambda a: a[:, 5]), ("level=s0&axis=x&x=7", lambda a: a[:, :, 7])):
        made = volume[1].levels[1 if "level=1" in query else 0]
        status, headers, png = server.get(f"/v/em/slice.png?{query}&lo=1000&hi=50000")
        assert (status, headers["Content-Type"]) == (200, "image/png")
        shown = np.asarray(Image.open(io.BytesIO(png))).astype(float)
        grey = np.clip((wanted(made).astype(float) - 1000) / 49000 * 255, 0, 255)
        assert np.abs(shown - grey).max() <= 1, query
    for query, status in (("z=64", 404), ("level=7", 404), ("axis=t", 400), ("z=x", 400), ("labels=none", 404), ("lo=nan", 400), ("hi=inf", 400),
                          ("lo=-inf", 400), ("hi=1e400", 400), ("lo=-1.7e308&hi=1.7e308", 400)):
        assert server.get(f"/v/em/slice.png?{query}")[0] == status, query


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A server of a TIFF stack whose white is zero, and of one with labels at half its resolution; their voxels."""
    import tifffile

    root = tmp_path_factory.mktemp("drawn")
    voxels = reference_volumes.texture((20, 60, 80), "u1", 4)
    labels = np.zeros((10, 30, 40), "u1")
    labels[3:7, 8:20, 5:30] = reference_volumes.noise((4, 12, 25), "u1", 1) % 3
    for name, array, photometric in (("white", voxels, "miniswhite"), ("black", voxels, "minisblack"), ("labels", labels, "minisblack")):
        tifffile.imwrite(root / f"{name}.tif", array, photometric=photometric)
    source = lambda name, size: {"kind": "tiff", "url": str(root / f"{name}.tif"), "voxel_size": [size] * 3, "window": [20, 220]}
    image = {"name": "a", "source": source("black", 8.0), "labels": [{"name": "organelle", "source": source("labels", 16.0)}]}
    config = configuration({"white": source("white", 8.0), "black": {"source": source("black", 8.0), "images": [image]}})
    with served(tmp_path_factory.mktemp("serve"), config) as server:
        yield server, voxels, labels


def picture(server, path):
    from PIL import Image

    status, _, png = server.get(path)
    assert status == 200, (path, png)
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def test_where_white_is_zero_the_picture_is_shown_so(drawn):
    server, voxels, _ = drawn
    grey = np.clip((voxels[7].astype(float) - 20) / 200 * 255, 0, 255)
    assert np.abs(picture(server, "/black/em/slice.png?level=0&z=7") - grey).max() <= 1
    assert np.abs(picture(server, "/white/em/slice.png?level=0&z=7") - (255 - grey)).max() <= 1
    page = server.get("/white/em/?level=s0&z=7")[2].decode()
    assert 'name="lo" value="220"' in page and 'name="hi" value="20"' in page and "lo=220&amp;hi=20" in page
    assert np.abs(picture(server, "/white/em/slice.png?level=0&z=7&lo=20&hi=220") - grey).max() <= 1, "who says so sees it otherwise"


def test_labels_of_another_size_lie_over_the_picture_by_nanometres(drawn):
    server, voxels, labels = drawn
    for query, cut, plane in (("axis=z&z=9", lambda a, n: a[9 // n], (60, 80)), ("axis=y&y=31", lambda a, n: a[:, 31 // n], (20, 80)),
                              ("axis=x&x=40", lambda a, n: a[:, :, 40 // n], (20, 60))):
        shown = picture(server, f"/black/a/slice.png?level=0&{query}&labels=organelle")
        under = cut(labels, 2).repeat(2, 0).repeat(2, 1)
        assert shown.shape == (*plane, 3) and under.shape == plane and (under > 0).any(), query
        assert np.array_equal(np.ptp(shown, axis=2) > 0, under > 0), query
        grey = np.clip((cut(voxels, 1).astype(float) - 20) / 200 * 255, 0, 255)
        assert np.abs(shown[under == 0] - grey[under == 0][:, None]).max() <= 1, query
        one, two = (shown[under == value].mean(axis=0) for value in (1, 2))
        assert np.abs(one - two).max() > 20, "two labels have two colours"
    page = server.get("/black/a/?labels=organelle&level=s0&z=9")[2].decode()
    assert "&amp;labels=organelle" in page and '<option value="organelle" selected>' in page
    crop = picture(server, "/black/a.crop-z6-12_y20-50_x12-70/slice.png?level=0&z=3&labels=organelle")
    assert np.array_equal(np.ptp(crop, axis=2) > 0, labels[4].repeat(2, 0).repeat(2, 1)[20:50, 12:70] > 0)


def test_pages_say_what_there_is_without_a_script(server):
    status, headers, page = server.get("/")
    page = page.decode()
    assert status == 200 and 'src="v/em/slice.png' in page and "neuroglancer" in page and "64×96×80" in page
    assert "script-src" in headers["Content-Security-Policy"] and "src=\"http" not in page
    page = server.get("/v/em/?z=3&level=s0")[2].decode()
    assert "slice.png?level=s0&amp;axis=z&amp;z=3" in page and 'type="range"' in page and "napari" in page
    assert server.get("/v/em")[0] == 301 and server.get("/v/none")[0] == 404


def fields(page):
    """What the form of a page sends."""
    return dict(re.findall(r'<input [^>]*name="(\w+)"[^>]* value="([^"]*)"', page))


def test_a_page_links_to_what_there_is_alone(server):
    for name, tiff in (("em", "em.tif"), ("em.v3", "em.tif"), ("em.chunk-16", "em.tif"), ("em.chunk-16.v3", "em.tif"), ("em.numbered", "em.tif"),
                       ("em.crop-z0-9_y0-9_x0-9.chunk-16", "em.crop-z0-9_y0-9_x0-9.tif"), ("em.s1", "em.s1.tif")):
        page = server.get(f"/v/{name}/")[2].decode()
        linked = re.findall(r'href="\.\./([^"]+)"', page[page.index("Files:"):])
        assert len(linked) == 3 and linked[2] == tiff and len(set(linked)) == 3, (name, linked)
        for file in linked:
            assert server.ask(f"/v/{file}", "HEAD")[0] == 200, (name, file)


def test_another_level_or_axis_of_a_page_shows_the_same_place(server):
    shown = lambda query: fields(server.get(f"/v/em/?{query}")[2].decode())
    sent = shown("level=s0&axis=z&z=50")
    assert sent["z"] == "50" and (sent := sent | {"level": "s1"})
    coarse = shown(urllib.parse.urlencode(sent))
    assert coarse["z"] == "25"
    assert shown(urllib.parse.urlencode(coarse | {"level": "s0"}))["z"] == "50", "and back"
    across = shown(urllib.parse.urlencode(coarse | {"level": "s0", "axis": "y"}))
    assert shown(urllib.parse.urlencode(across | {"level": "s0", "axis": "z", "z": across["z"]}))["z"] == "50", "the other axis is not lost"
    assert shown("level=s1&axis=z&z=50")["z"] == "31", "the last one"
    for query in ("from=s7:z", "from=s0:z&at=1,2", "from=s0:z&at=nan,1,2"):
        assert server.get(f"/v/em/?{query}")[0] == 400, query


def test_an_image_that_its_source_inverts_is_told_and_shown_so(tmp_path):
    root = tmp_path / "origin"
    root.mkdir()
    made = small_volume(root)
    document = next(root.rglob(".zattrs"))
    attributes = json.loads(document.read_text())
    for inverted in (True, False):
        channel = {"inverted": inverted, "window": {"min": 0, "max": 65535, "start": 1000, "end": 50000}}
        document.write_text(json.dumps(attributes | {"omero": {"channels": [channel]}}))
        with Origin(root) as origin, served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)})) as server:
            for path in ("/v/em.zarr/.zattrs", "/v/em.v3.zarr/zarr.json", "/v/em.crop-z0-9_y0-9_x0-9.zarr/.zattrs"):
                told = json.loads(server.get(path)[2])
                (channel,) = told.get("attributes", {}).get("ome", told)["omero"]["channels"]
                assert channel["inverted"] is inverted and (channel["window"]["start"], channel["window"]["end"]) == (1000, 50000), path
            grey = np.clip((made.levels[0][7].astype(float) - 1000) / 49000 * 255, 0, 255)
            shown = picture(server, "/v/em/slice.png?level=0&z=7")
            assert np.abs(shown - (255 - grey if inverted else grey)).max() <= 1
            link = json.loads(urllib.parse.unquote(emfs("link", "v", "--server", server.url).stdout.partition("#!")[2]))
            assert link["layers"][0]["shaderControls"]["contrast"]["range"] == ([50000, 1000] if inverted else [1000, 50000])
            assert server.get("/v/em.zarr/s0/0/0/0")[2] == first_chunk(made), "the voxels stay"


def test_a_mount_serves_the_same_over_one_cache(volume, tmp_path):
    root, made = volume
    with Origin(root) as origin, mounted(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)}), "--serve=127.0.0.1:0") as mount:
        url = next(line.rpartition(" ")[2] for line in mount.log.splitlines() if "serving at" in line)
        assert (mount / "v/em.zarr/s0/0/0/0").read_bytes() == first_chunk(made)
        assert json.loads(emfs("status", url, "--json").stdout)["mountpoint"] == str(mount.path)
        assert mount.status()["url"] == url and emfs("status", mount.path).stdout.startswith(f"{mount.path}, {url}: emfs ")
        link = json.loads(urllib.parse.unquote(emfs("link", mount / "v").stdout.partition("#!")[2]))
        assert link["layers"][0]["source"] == f"zarr2://{url}v/em.zarr"
        asked = origin.count()
        with urllib.request.urlopen(url + CHUNK[1:]) as answer:
            assert answer.read() == first_chunk(made)
        assert origin.count() == asked
