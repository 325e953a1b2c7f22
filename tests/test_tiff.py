"""TIFF files that tifffile wrote, through a mount, where a log line is all there is to say."""

import numpy as np
import tifffile

import reference_volumes
from mounting import configuration, mounted
from readers import assert_equal, zarr_array


def test_that_imagej_means_signed_voxels_is_said_once(tmp_path):
    voxels = reference_volumes.noise((5, 37, 45), "u2", 3)
    lines = "ImageJ=1.54f\nimages=5\nslices=5\nunit=nm\nspacing=4\n{}vunit=gray value\n"
    for name, calibration in [("signed", "cf=0\nc0=-32768.0\nc1=1.0\n"), ("other", "cf=0\nc0=0.0\nc1=2.0\n")]:
        tifffile.imwrite(
            tmp_path / f"{name}.tif", voxels, photometric="minisblack", byteorder=">", metadata=None,
            description=lines.format(calibration))
    datasets = {name: {"kind": "tiff", "url": str(tmp_path / f"{name}.tif")} for name in ("signed", "other")}
    with mounted(tmp_path, configuration(datasets), timeout=20) as mount:
        for name in datasets:
            found = np.asarray(zarr_array(mount / name / "em.zarr", 0, False))
            assert_equal(found, voxels, name)
        warnings = [line for line in mount.log.splitlines() if "WARN" in line]
    assert len(warnings) == 1 and "signed.tif" in warnings[0] and "32768" in warnings[0], warnings
