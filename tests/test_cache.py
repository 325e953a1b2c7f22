"""What was fetched is kept on disk: it survives the mount, is shared, bounded and checked, and works without a network."""

import contextlib
import errno
import os
import pathlib
import re

import pytest

import expected
import replica
import truth
from mounting import configuration, emfs, mounted
from origin import Fault, Origin


def read(path):
    """Bytes, or the errno's name."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno]


def without_times(document):
    return re.sub(rb'("retrieved": )"[^"]*"', rb"\1null", document) if isinstance(document, bytes) else document


def everything(mount):
    """Path and bytes of every file of every store that is listed, of the records and of the archives' documents."""
    found = {}
    # The images are opened first, so that the documents say all there is to say.
    for store in sorted(mount.path.glob("*/*.zarr")):
        for at, _, names in os.walk(store, onerror=lambda error: pytest.fail(str(error))):
            for name in names:
                found[os.path.relpath(os.path.join(at, name), mount.path)] = read(os.path.join(at, name))
    for pattern in ("*", "*/*", "*/upstream/*"):
        for path in sorted(mount.path.glob(pattern)):
            if path.is_file():
                found[str(path.relative_to(mount.path))] = without_times(read(path))
    assert not [path for path, content in found.items() if isinstance(content, str)]
    return found


def test_a_remount_needs_no_request_for_what_was_read_online_or_offline(tmp_path):
    cache = tmp_path / "cache"
    with replica.served(tmp_path / "server.log") as config:
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            first = everything(mount)
            assert mount.requests() > 0
        with mounted(tmp_path, config, cache=cache, timeout=20) as mount:
            assert everything(mount) == first
            assert mount.requests() == 0
            status = mount.status()
            assert status["disk"]["hits"] > 0 and status["disk"]["bytes"] > 0
    # The server is gone.
    with mounted(tmp_path, config, "--offline", cache=cache, timeout=20) as mount:
        assert everything(mount) == first
        assert mount.requests() == 0 and mount.status()["failed"] == 0
    assert {name.split("/")[0] for name in first if "/" in name} == {
        "idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"}
