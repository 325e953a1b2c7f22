"""Who may read what `emfs serve` serves: tokens, origins of pages, addresses, TLS."""

import os
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest

import reference_volumes
from mounting import configuration, emfs
from origin import Origin
from serving import CHUNK, first_chunk, served, small_volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("origin")
    return root, small_volume(root)


def test_without_the_token_there_is_nothing_and_it_is_never_told(volume, tmp_path):
    root, made = volume
    token = "S3cret-0123456789abcdef"
    (tmp_path / "token").write_text(token + "\n")
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)})
        with served(tmp_path, config, "--token-file", tmp_path / "token", "-vv") as server:
            for path in ("/", "/v/em.zarr/.zattrs", "/nothing", f"/{token[:-1]}/v/em.zarr/.zattrs", "/%zz"):
                status, headers, body = server.get(path)
                assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer") and b"em.zarr" not in body, path
            assert server.get("/v/em.zarr/.zattrs", Authorization="Bearer wrong")[0] == 403
            assert server.get("/v/em.zarr/.zattrs", Authorization=f"Bearer {token}")[0] == 200
            status, headers, page = server.get(f"/{token}/")
            assert status == 200 and headers["Referrer-Policy"] == "no-referrer"
            assert "private" in server.get(f"/{token}{CHUNK}")[1]["Cache-Control"]
            assert server.get(f"/{token}{CHUNK}")[2] == first_chunk(made)
            assert server.get(f"/{token}/nothing")[0] == 404
            for path in (f"/{token}/{token}/", f"/{token}/v/{token}/a", f"/{token}/v/em.zarr/{token}"):
                assert server.get(path)[0] == 404
            assert server.get(f"/v/{token}/", Authorization=f"Bearer {token}")[0] == 404
            assert "/v/em.zarr/.zattrs" in server.log and "/v/TOKEN/a" in server.log
        assert token not in (tmp_path / "serve.log").read_text()


def test_the_token_of_a_job_is_for_its_datasets_and_as_long_as_its_key_is_there(volume, tmp_path):
    root, made = volume
    keys = tmp_path / "keys"
    new = lambda *options: emfs("token", "create", "--key-file", keys, *options).stdout.strip()
    ours, theirs, every = new("--dataset", "v", "--expires", "1h"), new("--dataset", "w", "--expires", "1h"), new("--expires", "1h")
    short = new("--dataset", "v", "--expires", "1s")
    with Origin(root) as origin:
        config = configuration({name: reference_volumes.source_at(made, origin) for name in ("v", "w")})
        with served(tmp_path, config, "--key-file", keys, "-vv") as server:
            status = lambda path, token: server.get(path, Authorization=f"Bearer {token}")[0]
            headers, body = server.get(f"/{ours}{CHUNK}")[1:]
            assert body == first_chunk(made)
            # A cache on the way would hand it to others, and after the token has ceased to be valid.
            assert headers["Cache-Control"].startswith("private")
            assert [status(CHUNK, token) for token in (ours, theirs, every)] == [200, 403, 200]
            assert [status(path, ours) for path in ("/", "/metadata.json", "/w/em.zarr/.zattrs", "/v/../w/em.zarr/.zattrs")] == [403, 403, 403, 404], "what leads upwards is nowhere"
            assert status("/", every) == 200 and server.get(CHUNK)[0] == 401
            time.sleep(1.1)
            assert b"expired" in server.get(f"/{short}{CHUNK}")[2] and status(CHUNK, short) == 403
            assert status(CHUNK, ours[:-2] + "AA") == 403, "a changed signature"
            assert server.get(f"/{every}/{ours}/{ours}")[0] == 404 and "TOKEN/TOKEN" in server.log
            emfs("token", "key", "--key-file", keys, "--revoke")
            time.sleep(1.2)
            assert [status(CHUNK, token) for token in (ours, every, new("--dataset", "v", "--expires", "1h"))] == [403, 403, 200]
            keys.unlink()
            time.sleep(1.2)
            assert status(CHUNK, every) == 403
        assert ours not in (tmp_path / "serve.log").read_text()


def test_other_machines_need_a_token_or_a_word(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[[dataset]]\nname = "v"\nsource = { kind = "zarr", url = "http://127.0.0.1:9/x" }\n')
    done = emfs("serve", "--listen", "0.0.0.0:0", "--config", config, check=False)
    assert done.returncode == 2 and "--token-file" in done.stderr and "--public" in done.stderr and not done.stdout
    with served(tmp_path, config.read_text(), "--public", listen="0.0.0.0:0") as server:
        assert server.get("/v/?format=json")[0] == 200
    (tmp_path / "mnt").mkdir()
    for options, words in ((["--serve=0.0.0.0:0"], "--public"), (["--public"], "--serve")):
        done = emfs("mount", tmp_path / "mnt", "--config", config, *options, check=False)
        assert done.returncode == 2 and words in done.stderr, "before there is a second process"
    (tmp_path / "short").write_text("abc")
    done = emfs("serve", "--config", config, "--token-file", tmp_path / "short", check=False)
    assert done.returncode == 1 and "16" in done.stderr
    taken = socket.create_server(("127.0.0.1", 0))
    done = emfs("serve", "--config", config, "--listen", f"127.0.0.1:{taken.getsockname()[1]}", check=False)
    assert done.returncode == 1 and "port 0" in done.stderr


def test_pages_of_named_origins_alone_may_read(volume, tmp_path):
    root, made = volume
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)})
        with served(tmp_path, config, "--allow-origin", "https://a.org") as server:
            allowed = server.get(CHUNK, Origin="https://a.org")[1]
            assert allowed["Access-Control-Allow-Origin"] == "https://a.org" and allowed["Vary"] == "Origin"
            assert server.get(CHUNK, Origin="https://b.org")[1]["Access-Control-Allow-Origin"] is None
            assert server.ask(CHUNK, "OPTIONS", Origin="https://b.org")[1]["Access-Control-Allow-Methods"] is None
        with served(tmp_path, config, "--allow-origin", "https://A.org:443/", "--allow-origin", "null") as server:
            for sent in ("https://a.org", "null"):
                assert server.get(CHUNK, Origin=sent)[1]["Access-Control-Allow-Origin"] == sent
        with served(tmp_path, config, "--allow-origin", "*") as server:
            assert server.get(CHUNK, Origin="https://b.org")[1]["Access-Control-Allow-Origin"] == "*"
    for written in ("a.org", "https://a.org/page", "https://*.org"):
        done = emfs("serve", "--allow-origin", written, check=False)
        assert done.returncode == 2 and "https://example.org" in done.stderr


def test_tls_by_a_certificate_of_ones_own_with_http_2(volume, tmp_path):
    root, made = volume
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with Origin(root) as origin:
        config = configuration({"v": reference_volumes.source_at(made, origin)})
        with served(tmp_path, config, "--tls-cert", certificate, "--tls-key", key) as server:
            assert server.url.startswith("https://127.0.0.1:")
            context = ssl.create_default_context(cafile=certificate)
            with urllib.request.urlopen(f"{server.url}{CHUNK[1:]}", context=context) as answer:
                assert answer.read() == first_chunk(made)
            done = subprocess.run(["curl", "-sS", "--cacert", certificate, "--http2", "-o", tmp_path / "chunk", "-w",
                                   "%{http_version}", f"{server.url}{CHUNK[1:]}"], capture_output=True, text=True, check=True)
            assert done.stdout == "2" and (tmp_path / "chunk").read_bytes() == first_chunk(made)
            done = emfs("link", "v", "--server", f"{server.url}s3cr3t-of-somebody/", check=False)
            assert done.returncode == 1 and "is not trusted" in done.stderr and "SSL_CERT_FILE" in done.stderr
            assert "s3cr3t" not in done.stderr and "no server" not in done.stderr and not done.stdout
            own = tmp_path / "own.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", own],
                           check=True, capture_output=True)
        with served(tmp_path, config, "--tls-cert", own, "--tls-key", key) as server:
            done = emfs("link", "v", "--server", server.url, env=os.environ | {"SSL_CERT_FILE": str(own)})
            assert done.stdout.count("\n") == 1 and not done.stderr
    done = emfs("serve", "--tls-cert", key, "--tls-key", certificate, check=False)
    assert done.returncode == 1 and "PEM" in done.stderr
