"""DM3 and DM4 files written by nionswift-io, of single sections and of stacks, with thumbnails as DigitalMicrograph puts them."""

import io

import numpy as np


def write(path, voxels, version=3, voxel_size=(50.0, 8.0, 8.0), thumbnail=None, tags=None):
    """Writes a section (y, x) or a stack (z, y, x). `voxel_size`: nanometres z, y, x; of a section z goes into its tags.

    `thumbnail`: side of a square picture that comes before the image, so that pixels begin elsewhere.
    """
    from nion.data import Calibration, DataAndMetadata
    from nionswift_plugin.DM_IO import dm3_image_utils, parse_dm3

    units = {2: [(voxel_size[1] / 1000, "µm"), (voxel_size[2] / 1000, "µm")], 3: [(size, "nm") for size in voxel_size]}[voxels.ndim]
    metadata = dict(tags or {})
    if voxels.ndim == 2:
        metadata["SBFSEM"] = {"Record": {"Slice thickness": float(voxel_size[0])}}
    data = np.ascontiguousarray(voxels)
    xdata = DataAndMetadata.new_data_and_metadata(
        # The writer takes signed bytes only and labels them as unsigned ones.
        data.view(np.int8) if data.dtype == np.uint8 else data,
        dimensional_calibrations=[Calibration.Calibration(0, scale, unit) for scale, unit in units],
        data_descriptor=DataAndMetadata.DataDescriptor(False, voxels.ndim - 2, 2), metadata=metadata)
    written = {}
    original = parse_dm3.dm_write_header
    parse_dm3.dm_write_header = lambda file, version, document: written.update(document)
    try:
        dm3_image_utils.save_image(xdata, io.BytesIO(), version)
    finally:
        parse_dm3.dm_write_header = original
    if thumbnail:
        picture = np.full((thumbnail, thumbnail, 4), 200, np.uint8)
        written["ImageList"].insert(0, {"ImageData": dm3_image_utils.ndarray_to_imagedatadict(picture)})
        written["ImageSourceList"][0]["ImageRef"] = 1
        written["Thumbnails"] = [{"ImageIndex": 0}]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        parse_dm3.dm_write_header(file, version, written)
    return path


def read(data):
    """The image of a file with these bytes, as nionswift-io reads it; bytes are unsigned."""
    from nionswift_plugin.DM_IO import dm3_image_utils, parse_dm3

    header = parse_dm3.dm_read_header(io.BytesIO(data))
    image = header["ImageList"][header["ImageSourceList"][0]["ImageRef"]]["ImageData"]
    voxels = dm3_image_utils.imagedatadict_to_ndarray(image)
    return voxels.view(np.uint8) if image["DataType"] == 6 else voxels
