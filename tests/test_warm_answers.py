"""Chunks that are asked for again over HTTP: sent from files in memory, and the same bytes to every client."""

import os
import socket
import ssl
import subprocess

import numpy as np
import pytest

import reference_volumes
from mounting import configuration
from origin import Origin
from serving import served

CHUNKS = [(z, y, x) for z in range(2) for y in range(2) for x in range(2)]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """Eight chunks of 256 KiB."""
    root = tmp_path_factory.mktemp("warm")
    return root, reference_volumes.zarr_group(root, "warm", shape=(128, 128, 128), dtype="|u1", chunks=(64, 64, 64), levels=1, seed=4)


def chunk(made, place):
    return np.ascontiguousarray(made.levels[0][tuple(slice(64 * at, 64 * at + 64) for at in place)]).tobytes()


def asked(place, headers=""):
    return f"GET /v/em.zarr/s0/{'/'.join(map(str, place))} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


def bodies(client, count, step=1 << 16):
    """Of so many answers that follow each other on a connection."""
    left, found = b"", []
    while len(found) < count:
        while b"\r\n\r\n" not in left:
            left += client.recv(step)
        head, _, left = left.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        parts = [left]
        while sum(map(len, parts)) < length:
            piece = client.recv(step)
            assert piece, "the connection ended"
            parts.append(piece)
        whole = b"".join(parts)
        found.append(whole[:length])
        left = whole[length:]
    assert not left
    return found


def connection(port, receive=None):
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.connect(("127.0.0.1", port))
    client.settimeout(60)
    return client


def files_of(server):
    folder = f"/proc/{server.process.pid}/fd"
    names = []
    for name in os.listdir(folder):
        try:
            names.append(os.readlink(f"{folder}/{name}"))
        except FileNotFoundError:
            pass
    return sum("emfs-answer" in name for name in names)


def test_what_is_asked_for_again_is_sent_from_files_and_is_the_same_to_every_client(volume, tmp_path):
    root, made = volume
    with Origin(root) as origin, served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)})) as server:
        for _ in range(4):
            with connection(server.port) as client:
                for place in CHUNKS:
                    client.sendall(asked(place))
                    assert bodies(client, 1) == [chunk(made, place)]
        assert files_of(server) == len(CHUNKS)
        # One after the other on a connection, of a client that takes little at a time, among others.
        slow = [connection(server.port, receive=4096) for _ in range(4)]
        order = CHUNKS * 2
        for client in slow:
            client.sendall(b"".join(map(asked, order)))
        for place in CHUNKS:
            with connection(server.port) as client:
                client.sendall(asked(place, "Range: bytes=1000-200999\r\n"))
                assert bodies(client, 1) == [chunk(made, place)[1000:201000]]
        for client in slow:
            assert bodies(client, len(order), 3000) == [chunk(made, place) for place in order]
            client.close()


def test_a_client_that_goes_in_the_middle_of_a_file_takes_nothing_of_the_others(volume, tmp_path):
    root, made = volume
    with Origin(root) as origin, served(tmp_path, configuration({"v": reference_volumes.source_at(made, origin)})) as server:
        for number in range(60):
            with connection(server.port, receive=4096) as going, connection(server.port) as staying:
                place = CHUNKS[number % len(CHUNKS)]
                going.sendall(asked(place) * 3)
                going.recv(100)
                going.close()
                staying.sendall(asked(place))
                assert bodies(staying, 1) == [chunk(made, place)]


def test_where_there_are_few_descriptors_most_are_left_for_clients(volume, tmp_path):
    root, made = volume
    limited = tmp_path / "limited"
    limited.mkdir()
    with Origin(root) as origin, served(limited, configuration({"v": reference_volumes.source_at(made, origin)})) as server:
        subprocess.run(["prlimit", "--pid", str(server.process.pid), "--nofile=64:64"], check=True)
        for _ in range(4):
            for place in CHUNKS:
                with connection(server.port) as client:
                    client.sendall(asked(place))
                    assert bodies(client, 1) == [chunk(made, place)]
        clients = [connection(server.port) for _ in range(20)]
        for client in clients:
            client.sendall(asked(CHUNKS[0]))
        for client in clients:
            assert bodies(client, 1) == [chunk(made, CHUNKS[0])]
            client.close()


def test_over_tls_chunks_that_are_asked_for_again_are_the_same(volume, tmp_path):
    root, made = volume
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)})
        with served(tmp_path, config, "--tls-cert", certificate, "--tls-key", key) as server:
            context = ssl.create_default_context(cafile=certificate)
            for _ in range(3):
                with context.wrap_socket(connection(server.port), server_hostname="127.0.0.1") as client:
                    for place in CHUNKS:
                        client.sendall(asked(place))
                        assert bodies(client, 1) == [chunk(made, place)]
            assert files_of(server) == 0
