"""Volumes at an origin and the folder where what is fetched of them is kept."""

import contextlib
import errno
import pathlib

import expected
import reference_volumes
from mounting import configuration, emfs, mounted

MIB = 1 << 20


def read(path):
    """Bytes, or the errno's name."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno]


class Scene:
    """Volumes at an origin, a cache folder, and mounts of them one after the other or at once."""

    def __init__(self, folder, origin, volumes):
        self.folder, self.origin, self.volumes = folder, origin, volumes
        self.cache = folder / "cache"
        self.config = configuration({name: reference_volumes.source_at(volume, origin) for name, volume in volumes.items()}, {"stall": 1.0})
        self.config_file = folder / "config.toml"
        self.config_file.write_text(self.config)

    def mounted(self, *options, name="one", cache=None, timeout=3, **more):
        return mounted(self.folder / name, self.config, *options, cache=cache or self.cache, timeout=timeout, **more)

    def chunks(self):
        """(volume, index) of all chunks of the finest levels."""
        return [(name, index) for name, volume in self.volumes.items()
                for index in expected.chunk_indices(volume.levels[0].shape, volume.chunk[0])]

    def right(self, name, index):
        return expected.chunk_bytes(self.volumes[name].levels[0], self.volumes[name].chunk[0], index)

    def found(self, mount, name, index):
        return read(mount / name / "em.zarr" / "s0" / expected.chunk_path(index))

    def check(self, mount, chunks=None, or_failed=False):
        """Compares chunks with the truth; returns how many could not be read."""
        failed = 0
        for name, index in chunks if chunks is not None else self.chunks():
            found = self.found(mount, name, index)
            if or_failed and isinstance(found, str):
                failed += 1
            else:
                assert found == self.right(name, index), f"{name} {index}: {found[:20]}"
        return failed

    def fill(self):
        with self.mounted() as mount:
            self.check(mount)

    def emfs(self, command, *arguments, **options):
        return emfs(command, *arguments, "--config", self.config_file, "--cache-dir", self.cache, **options)

    def cache_emfs(self, *arguments, **options):
        return emfs("cache", *arguments, "--cache-dir", self.cache, **options)


def cached_files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def size(folder):
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
