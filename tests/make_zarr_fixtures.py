#!/usr/bin/env python3
"""Writes OME-NGFF groups in Zarr v2 and v3 with zarr-python (2.18 or 3) and TensorStore, and the truth beside them.

    make_zarr_fixtures.py OUTDIR [--quick]

Uses whichever of the libraries the interpreter has, so it is run once per environment; names carry the writer. For each
group NAME: the group itself, NAME.json (levels: shape, dtype, scale, translation in z, y, x) and NAME.sN.raw, the voxels
of level N in C order, little-endian, with the fill value where a chunk is absent. `--quick` writes every eleventh group.
"""

import argparse
import itertools
import json
import pathlib
import shutil

import numpy as np

try:
    import zarr
except ImportError:
    zarr = None
try:
    import tensorstore as ts
except ImportError:
    ts = None

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
CNAMES = ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]
ORDERS = {"C": None, "F": (2, 1, 0), "P": (1, 2, 0)}
BLOSC = [("blosc", cname, shuffle) for cname in CNAMES for shuffle in (0, 1, 2)]
V2_CODECS = [("none",), ("zstd",), ("zstd", "checksum"), ("gzip",), ("zlib",), *BLOSC]
V3_CODECS = [("none",), ("zstd",), ("zstd", "checksum"), ("gzip",), ("crc32c",), ("zstd", "crc32c"),
             ("crc32c", "gzip"), *BLOSC]
KEYS = [("default", "/"), ("default", "."), ("v2", "."), ("v2", "/")]
V3_NAMES = {"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32",
            "u8": "uint64", "i8": "int64", "f4": "float32", "f8": "float64"}


def volume(shape, kind, seed):
    """Smooth texture with noise: compressible, but not trivially."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    field = 60 * np.sin(z / 3 + seed) + 50 * np.cos(y / 4) + 10 * np.sin(x / 2) + rng.normal(0, 2, shape)
    if kind.startswith("f"):
        field = field.astype(kind)
        field.flat[0] = np.nan
        return field
    wide = np.iinfo(kind).max // 256
    return (field * max(wide, 1) + (0 if kind.startswith("i") else 128 * max(wide, 1))).astype(kind)


def fill_of(kind, seed):
    if kind.startswith("f"):
        return [0.0, 1.5, float("nan"), float("-inf")][seed % 4]
    return [0, 7, 100][seed % 3] - (50 if kind.startswith("i") and seed % 2 else 0)


def attributes(version, levels, extra_axes=()):
    """OME-NGFF attributes of a group: 0.4 for Zarr v2, 0.5 for v3."""
    axes = [{"name": name, "type": {"t": "time", "c": "channel"}[name]} for name in extra_axes]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    lead = [1.0] * len(extra_axes)
    none = [0.0] * len(extra_axes)
    datasets = [{"path": f"s{n}", "coordinateTransformations": [
        {"type": "scale", "scale": lead + list(level["scale"])},
        {"type": "translation", "translation": none + list(level["translation"])}]} for n, level in enumerate(levels)]
    image = {"axes": axes, "datasets": datasets, "name": "", "type": None, "metadata": None,
             "coordinateTransformations": [{"type": "scale", "scale": lead + [1.0, 1.0, 1.0]}]}
    if version == 2:
        return {"multiscales": [{**image, "version": "0.4"}]}
    return {"ome": {"version": "0.5", "multiscales": [image]}}


class Fixtures:
    def __init__(self, out, every):
        self.out, self.every, self.count, self.written = out, every, 0, 0

    def group(self, name, version, kind, write, shapes=((5, 9, 7), (2, 4, 3)), chunk=(4, 5, 4), absent=True,
              extra_axes=()):
        """Writes one group by `write(path, shape, chunk, data, fill)`, which makes one array."""
        self.count += 1
        if self.count % self.every:
            return
        seed = self.count
        fill = fill_of(kind, seed)
        group = self.out / name
        shutil.rmtree(group, ignore_errors=True)
        group.mkdir(parents=True)
        levels = []
        for n, shape in enumerate(shapes):
            data = volume(shape, kind, seed + n)
            lead = (1,) * len(extra_axes)
            write(group / f"s{n}", lead + tuple(shape), lead + tuple(chunk), data.reshape(lead + tuple(shape)), fill)
            truth = data.copy()
            if absent and n == 0:
                self.remove_chunk(group / f"s{n}", len(extra_axes))
                truth[:chunk[0], chunk[1]:2 * chunk[1], :chunk[2]] = fill
            little = truth.astype("<" + kind)
            (self.out / f"{name}.s{n}.raw").write_bytes(little.tobytes())
            factor = 2.0 ** n
            levels.append({"shape": list(shape), "dtype": V3_NAMES[kind], "chunk": list(chunk),
                           "scale": [2.96 * factor, 4.0 * factor, 4.0 * factor],
                           "translation": [1.48 * (factor - 1), 2.0 * (factor - 1), 2.0 * (factor - 1)]})
        if version == 2:
            (group / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
            (group / ".zattrs").write_text(json.dumps(attributes(2, levels, extra_axes)))
        else:
            (group / "zarr.json").write_text(json.dumps({
                "zarr_format": 3, "node_type": "group", "attributes": attributes(3, levels, extra_axes)}))
        (self.out / f"{name}.json").write_text(json.dumps({"levels": levels}))
        self.written += 1

    @staticmethod
    def remove_chunk(array, extra):
        lead = [0] * extra
        parts = [str(i) for i in lead + [0, 1, 0]]
        candidates = ["/".join(parts), ".".join(parts), "/".join(["c", *parts]), ".".join(["c", *parts])]
        found = [array / key for key in candidates if (array / key).is_file()]
        assert len(found) == 1, (array, found)
        found[0].unlink()


def numcodecs_codec(codec):
    import numcodecs
    match codec:
        case ("none",):
            return None
        case ("zstd",):
            return numcodecs.Zstd(level=1)
        case ("zstd", "checksum"):
            return numcodecs.Zstd(level=3, checksum=True)
        case ("gzip",):
            return numcodecs.GZip(level=5)
        case ("zlib",):
            return numcodecs.Zlib(level=5)
        case ("blosc", cname, shuffle):
            return numcodecs.Blosc(cname=cname, clevel=5, shuffle=shuffle)


def v3_chain(kind, endian, order, codec):
    """The codec chain as it stands in a document."""
    size = int(kind[1])
    chain = [] if ORDERS[order] is None else [{"name": "transpose", "configuration": {"order": list(ORDERS[order])}}]
    chain.append({"name": "bytes", "configuration": {"endian": endian}} if size > 1 else {"name": "bytes"})
    if codec[0] == "blosc":
        shuffle = ["noshuffle", "shuffle", "bitshuffle"][codec[2]]
        return [*chain, {"name": "blosc", "configuration": {
            "cname": codec[1], "clevel": 5, "shuffle": shuffle, "typesize": size, "blocksize": 0}}]
    for name in codec:
        match name:
            case "zstd":
                chain.append({"name": "zstd", "configuration": {"level": 1, "checksum": "checksum" in codec}})
            case "gzip":
                chain.append({"name": "gzip", "configuration": {"level": 5}})
            case "crc32c":
                chain.append({"name": "crc32c"})
    return chain


def zarr_v2_array(kind, byte_order, codec, order, separator):
    dtype = (byte_order if int(kind[1]) > 1 else "|") + kind

    def write(path, shape, chunk, data, fill):
        if zarr.__version__.startswith("2."):
            store = zarr.NestedDirectoryStore(str(path)) if separator == "/" else zarr.DirectoryStore(str(path))
            array = zarr.open_array(store, mode="w", shape=shape, chunks=chunk, dtype=dtype, order=order,
                                    compressor=numcodecs_codec(codec), fill_value=fill, dimension_separator=separator)
        else:
            array = zarr.create_array(str(path), shape=shape, chunks=chunk, dtype=dtype, order=order, zarr_format=2,
                                      compressors=numcodecs_codec(codec), filters=None, fill_value=fill,
                                      chunk_key_encoding={"name": "v2", "separator": separator})
        array[...] = data
    return write


def zarr_v3_array(kind, endian, codec, order, keys):
    from zarr.codecs import (BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec)
    size = int(kind[1])
    match codec:
        case ("blosc", cname, shuffle):
            compressors = [BloscCodec(cname=cname, clevel=5, typesize=size,
                                      shuffle=["noshuffle", "shuffle", "bitshuffle"][shuffle])]
        case _:
            make = {"zstd": lambda: ZstdCodec(level=1, checksum="checksum" in codec), "gzip": lambda: GzipCodec(level=5),
                    "crc32c": Crc32cCodec}
            compressors = [make[name]() for name in codec if name in make]

    def write(path, shape, chunk, data, fill):
        filters = [] if ORDERS[order] is None else [TransposeCodec(order=ORDERS[order])]
        array = zarr.create_array(str(path), shape=shape, chunks=chunk, dtype=kind, zarr_format=3, fill_value=fill,
                                  filters=filters, serializer=BytesCodec(endian=endian if size > 1 else None),
                                  compressors=compressors,
                                  chunk_key_encoding={"name": keys[0], "separator": keys[1]})
        array[...] = data
    return write


def tensorstore_v3_array(kind, endian, codec, order, keys):
    def write(path, shape, chunk, data, fill):
        text = {"nan": "NaN", "-inf": "-Infinity"}.get(str(fill), fill)
        ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True, "metadata": {
            "shape": list(shape), "data_type": V3_NAMES[kind], "fill_value": text,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
            "chunk_key_encoding": {"name": keys[0], "configuration": {"separator": keys[1]}},
            "codecs": v3_chain(kind, endian, order, codec)}}).result().write(data).result()
    return write


def name_of(*parts):
    return "-".join("_".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in parts).translate(
        str.maketrans({"<": "le", ">": "be", "/": "slash", ".": "dot"}))


def write_v2(fixtures, writer):
    """Small arrays in every combination, larger ones for Blosc, whose blocks and splits start at some size."""
    for kind, byte_order, codec, order, separator in itertools.product(DTYPES, "<>", V2_CODECS, "CF", "./"):
        if kind.endswith("1") and byte_order == ">":
            continue
        write = zarr_v2_array(kind, byte_order, codec, order, separator)
        fixtures.group(name_of(writer, "v2", kind, byte_order, codec, order, separator), 2, kind, write)
    for kind, codec in itertools.product(DTYPES, BLOSC):
        write = zarr_v2_array(kind, "<", codec, "C", "/")
        fixtures.group(name_of(writer, "v2", kind, codec, "large"), 2, kind, write,
                       shapes=((33, 40, 41), (16, 20, 20)), chunk=(16, 32, 32))
    for separator, extra in itertools.product("./", ("c", "t", "tc")):
        write = zarr_v2_array("u2", "<", ("zstd",), "C", separator)
        fixtures.group(name_of(writer, "v2", "axes", extra, separator), 2, "u2", write, extra_axes=extra)
    for number, shapes in enumerate((((1, 1, 1),), ((3, 1, 2), (1, 1, 1)), ((64, 3, 5), (32, 1, 2), (16, 1, 1)))):
        write = zarr_v2_array("i2", "<", ("zstd",), "C", "/")
        fixtures.group(name_of(writer, "v2", "odd", number), 2, "i2", write, shapes, (64, 64, 64), absent=False)


def write_v3(fixtures, writer, array, every_key):
    """As for version 2. A writer that is slow takes the ways of naming chunks in turn."""
    keys = itertools.cycle(KEYS)
    for kind, endian, codec, order in itertools.product(DTYPES, ("little", "big"), V3_CODECS, ORDERS):
        if kind.endswith("1") and endian == "big":
            continue
        for key in KEYS if every_key else [next(keys)]:
            write = array(kind, endian, codec, order, key)
            fixtures.group(name_of(writer, "v3", kind, endian, codec, order, *key), 3, kind, write)
    for kind, codec in itertools.product(DTYPES, BLOSC):
        write = array(kind, "little", codec, "C", KEYS[0])
        fixtures.group(name_of(writer, "v3", kind, codec, "large"), 3, kind, write,
                       shapes=((33, 40, 41), (16, 20, 20)), chunk=(16, 32, 32))
    for extra in ("c", "t", "tc"):
        write = array("f4", "little", ("gzip",), "C", KEYS[0])
        fixtures.group(name_of(writer, "v3", "axes", extra), 3, "f4", write, extra_axes=extra)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="every eleventh group")
    arguments = parser.parse_args()
    fixtures = Fixtures(arguments.out, 11 if arguments.quick else 1)
    if zarr is not None:
        major = zarr.__version__.split(".")[0]
        write_v2(fixtures, f"zarr{major}")
        if major == "3":
            write_v3(fixtures, "zarr3", zarr_v3_array, every_key=False)
    if ts is not None:
        write_v3(fixtures, "tensorstore", tensorstore_v3_array, every_key=True)
    print(f"{fixtures.written} groups in {arguments.out}")


if __name__ == "__main__":
    main()
