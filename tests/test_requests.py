"""What reaches the network, and what reaches the daemon: counted by the origin and by the daemon itself."""

import json
import os

import pytest

import reference_volumes
from mounting import configuration, mounted
from readers import read_file


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a long chain of pages as ITK writes it, an ImageJ stack, and two Zarr groups."""
    root = tmp_path_factory.mktemp("counted")
    made = {
        "itk": reference_volumes.itk(root, "itk", (64, 300, 400), "u1", 1),
        "imagej": reference_volumes.imagej(root, "imagej", (50, 300, 400), "u1", 2),
        "zarr": reference_volumes.zarr_group(root, "zarr", shape=(64, 128, 128), dtype="<i2", chunks=(32, 32, 32), seed=3, s3=True),
    }
    return root, made


@pytest.fixture
def counted(files, serve, tmp_path):
    root, made = files
    origin = serve(root)
    with mounted(tmp_path, configuration({name: reference_volumes.source_at(volume, origin) for name, volume in made.items()}), timeout=20) as mount:
        yield mount, origin, made


def test_mounting_and_listing_datasets_make_no_request(counted):
    mount, origin, _ = counted
    assert origin.requests == []
    assert set(os.listdir(mount.path)) >= {"itk", "imagej", "zarr"}
    for name in ("itk", "imagej", "zarr"):
        assert {"em.zarr", "em.v3.zarr", "metadata.json"} <= set(os.listdir(mount / name))
        os.stat(mount / name)
    os.statvfs(mount.path)
    assert origin.requests == [] and mount.requests() == 0


@pytest.mark.parametrize("name", ["itk", "imagej"])
def test_a_stack_of_any_length_opens_in_three_requests(counted, name):
    mount, origin, made = counted
    document = json.loads(read_file(mount / name / "em.zarr" / "s0" / ".zarray"))
    assert document["shape"] == list(made[name].levels[0].shape)
    assert 1 <= origin.count() <= 3, origin.requests


def test_everything_but_chunks_is_free_once_a_store_is_described(counted):
    mount, origin, _ = counted
    read_file(mount / "zarr" / "em.zarr" / ".zattrs")
    origin.forget()
    for at, folders, names in os.walk(mount / "zarr"):
        for name in folders + names:
            os.stat(os.path.join(at, name))
            if name.startswith((".z", "zarr.json")):
                read_file(os.path.join(at, name))
    assert origin.requests == []


@pytest.mark.parametrize("name", ["itk", "imagej", "zarr"])
def test_a_second_read_makes_no_request(counted, name):
    mount, origin, made = counted
    path = mount / name / "em.zarr" / "s0" / "0" / "0" / "0"
    first = read_file(path)
    before = mount.requests()
    origin.forget()
    assert read_file(path) == first
    assert read_file(mount / name / "em.v3.zarr" / "s0" / "c" / "0" / "0" / "0") == first, "the other store shares the voxels"
    assert origin.requests == [] and mount.requests() == before


def test_one_chunk_of_a_zarr_source_costs_one_request(counted):
    mount, origin, _ = counted
    read_file(mount / "zarr" / "em.zarr" / ".zattrs")
    origin.forget()
    read_file(mount / "zarr" / "em.zarr" / "s0" / "1" / "1" / "1")
    assert [request.path.rpartition("/s0/")[2] for request in origin.requests] in (["1/1/1"], ["1.1.1"])


def test_no_head_and_no_listing_is_ever_sent(counted):
    mount, origin, made = counted
    for name in made:
        read_file(mount / name / "em.zarr" / "s0" / "0" / "0" / "0")
    assert {request.method for request in origin.requests} == {"GET"}
    assert not origin.count("list-type")


def test_the_same_chunk_asked_for_by_many_at_once_is_fetched_once(counted):
    import concurrent.futures

    mount, origin, _ = counted
    read_file(mount / "zarr" / "em.zarr" / ".zattrs")
    origin.latency = 0.3
    origin.forget()
    paths = [mount / "zarr" / "em.zarr" / "s0" / "1" / "0" / "1", mount / "zarr" / "em.v3.zarr" / "s0" / "c" / "1" / "0" / "1"] * 8
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = set(pool.map(read_file, paths))
    assert len(found) == 1
    assert len(origin.requests) == 1


def test_the_daemon_counts_the_requests_that_the_origin_saw(counted):
    mount, origin, _ = counted
    for name in ("itk", "zarr"):
        read_file(mount / name / "em.zarr" / "s0" / "0" / "0" / "0")
    assert mount.requests() == len(origin.requests)
    host = next(iter(mount.status()["hosts"]))
    assert host.startswith("127.0.0.1")


def test_an_immediate_second_read_sends_no_message_but_the_ones_of_python(counted):
    mount, _, _ = counted
    path = mount / "zarr" / "em.zarr" / "s0" / "0" / "1" / "0"
    first = read_file(path)
    kinds = ("lookup", "getattr", "open", "read", "release", "opendir", "readdir", "readdirplus")
    seen = []
    for _ in range(5):
        mount.fuse()
        before = mount.fuse()
        assert read_file(path) == first
        after = mount.fuse()
        seen.append({kind: after.get(kind, 0) - before.get(kind, 0) for kind in kinds})
    assert any(not any(messages.values()) for messages in seen), seen


@pytest.mark.skipif(not os.access("/sys/class/bdi", os.W_OK), reason="only root may tell the kernel to ask for more at once")
def test_a_chunk_file_is_read_by_one_message(counted):
    mount, _, _ = counted
    path = mount / "imagej" / "em.zarr" / "s0" / "0" / "1" / "1"
    assert path.stat().st_size == 256 << 10
    before = mount.fuse().get("read", 0)
    read_file(path)
    assert mount.fuse()["read"] == before + 1


def test_the_user_agent_names_the_project(counted):
    mount, origin, _ = counted
    read_file(mount / "itk" / "em.zarr" / ".zattrs")
    assert all("emfs" in request.headers.get("user-agent", "") for request in origin.requests)


def test_no_more_connections_than_the_host_allows(files, serve, tmp_path):
    import concurrent.futures

    root, made = files
    origin = serve(root)
    origin.latency = 0.05
    with mounted(tmp_path, configuration({"zarr": reference_volumes.source_at(made["zarr"], origin)}, {"connections": 2, "stall": 10.0})) as mount:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(read_file, [mount / "zarr" / "em.zarr" / "s0" / str(z) / str(y) / str(x) for z in range(2) for y in range(4) for x in range(4)]))
    assert origin.busiest == 2
