"""What the makers of all archives share."""

import hashlib
import json

SEED = 20200610


def truth(voxels):
    """What a reader must find: C order z, y, x, little-endian."""
    data = voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    return {"shape": list(voxels.shape), "dtype": voxels.dtype.name, "sha256": hashlib.sha256(data).hexdigest()}


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
