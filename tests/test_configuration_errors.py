"""Mistakes in a configuration: what is said names the file, the line and the key."""

import re

import pytest

from mounting import emfs, is_mounted

WRONG = {
    "syntax": ('[[dataset]\nname = "x"\n', 1, None),
    "unknown-kind": ('[[dataset]]\nname = "x"\n[dataset.source]\nkind = "hdf5"\nurl = "http://h/x"\n', 4, "kind|hdf5"),
    "unknown-key": ('[[dataset]]\nname = "x"\n[dataset.source]\nkind = "tiff"\nurl = "http://h/x"\ncolour = 1\n', 6, "colour"),
    "unknown-top-key": ('datasets = 3\n', 1, "datasets"),
    "missing-url": ('[[dataset]]\nname = "x"\n[dataset.source]\nkind = "tiff"\n', None, "url"),
    "missing-source": ('[[dataset]]\nname = "x"\n', None, "source"),
    "missing-name": ('[[dataset]]\n[dataset.source]\nkind = "tiff"\nurl = "http://h/x"\n', None, "name"),
    "wrong-type": ('[[dataset]]\nname = 5\nsource = { kind = "tiff", url = "http://h/x" }\n', 2, "name"),
    "bad-name": ('[[dataset]]\nname = "a b"\nsource = { kind = "tiff", url = "http://h/x" }\n', 2, "name|a b"),
    "zarr-in-name": ('[[dataset]]\nname = "a.zarr"\nsource = { kind = "tiff", url = "http://h/x" }\n', 2, "zarr"),
    "slash-in-name": ('[[dataset]]\nname = "../a"\nsource = { kind = "tiff", url = "http://h/x" }\n', 2, "name|a"),
    "root-document": ('[[dataset]]\nname = "metadata.json"\nsource = { kind = "tiff", url = "http://h/x" }\n', 2, "metadata.json"),
    "duplicate": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x" }\n[[dataset]]\nname = "A"\nsource = { kind = "tiff", url = "http://h/x" }\n', 5, "A"),
    "bad-url": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "gopher://h/x" }\n', 3, "gopher|url"),
    "bad-chunk": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x", chunk = [0, 64, 64] }\n', 3, "chunk"),
    "chunk-of-two": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x", chunk = [64, 64] }\n', 3, "chunk"),
    "bad-voxel-size": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x", voxel_size = [-1, 4, 4] }\n', 3, "voxel_size"),
    "nan-voxel-size": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x", voxel_size = [nan, 4, 4] }\n', 3, "voxel_size"),
    "bad-window": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x", window = [9, 1] }\n', 3, "window"),
    "bad-credentials": ('[[dataset]]\nname = "a"\nsource = { kind = "zarr", url = "s3://h/x", credentials = "mine" }\n', 3, "credentials|mine"),
    "bad-image-name": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x" }\n[[dataset.image]]\nname = "Big"\nsource = { kind = "tiff", url = "http://h/x" }\n', 5, "Big|name"),
    "image-called-em": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x" }\n[[dataset.image]]\nname = "em"\nsource = { kind = "tiff", url = "http://h/x" }\n', 5, "em"),
    "view-that-is-no-box": ('[[dataset]]\nname = "a"\nsource = { kind = "tiff", url = "http://h/x" }\n[[dataset.view]]\nname = "v"\nimage = "em"\ncrop = "z0-4"\n', 7, "crop"),
    "no-connections": ('[host."h"]\nconnections = 0\n', 2, "connections"),
    "host-with-scheme": ('[host."https://h/x"]\nconnections = 1\n', 1, "stands alone, without `https://`"),
    "home-of-the-shell": ('[[dataset]]\nname = "a"\nsource = { kind = "zarr", url = "~/v.zarr" }\n', 3, "write the whole path"),
    "negative-rate": ('[host."h"]\nrate = -1.0\n', 2, "rate"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_of_the_configuration_names_file_line_and_key(tmp_path, name):
    text, line, key = WRONG[name]
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    (tmp_path / "m").mkdir()
    for arguments in (["datasets", "--config", file], ["mount", tmp_path / "m", "--config", file]):
        done = emfs(*arguments, check=False)
        assert done.returncode == 1 and done.stdout == "", done
        assert "wrong.toml" in done.stderr
        if line:
            assert re.search(rf"wrong\.toml:{line}\b|line {line}\b", done.stderr), done.stderr
        if key:
            assert re.search(key, done.stderr), done.stderr
    assert not is_mounted(tmp_path / "m")
