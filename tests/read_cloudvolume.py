"""Run by the Python that has cloud-volume: reads levels of volumes and saves them, z, y, x.

standard input: a list of {"folder": …, "level": N, "out": file.npy}
"""

import json
import sys

import numpy as np
from cloudvolume import CloudVolume

for order in json.load(sys.stdin):
    volume = CloudVolume("file://" + order["folder"], mip=order["level"], progress=False)
    np.save(order["out"], np.ascontiguousarray(np.asarray(volume[:, :, :])[..., 0].transpose(2, 1, 0)))
