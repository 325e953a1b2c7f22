"""EPFL's hippocampus: TIFF files of many pages, with labels."""

from .files import SEED, truth
from .texture import neuropil

# In the archive the name begins with a space; the server of the replica adds it.
FOLDER = "groups/c/cv/cvlab-unit/www/data/ElectronMicroscopy_Hippocampus"
DATASET = "epfl-hippocampus"
#: Folders that hold nothing else.
PARTS = ["epfl"]


def write(output):
    """Multi-page TIFFs by ITK: a volume, and two labelled parts of it."""
    import numpy
    import SimpleITK

    folder = output / "epfl" / FOLDER
    shape = (20, 144, 192)
    light, mask = neuropil(shape, SEED + 1, 1.0, 2.0)
    volume = (light * 235 + 8).round().clip(0, 255).astype(numpy.uint8)
    labels = numpy.where(mask, 255, 0).astype(numpy.uint8)
    top = (slice(0, 11), slice(0, 72), slice(0, 96))
    bottom = (slice(0, 11), slice(72, 144), slice(96, 192))
    files = {
        "volumedata": volume,
        "training": volume[top], "training_groundtruth": labels[top],
        "testing": volume[bottom], "testing_groundtruth": labels[bottom],
    }
    folder.mkdir(parents=True)
    for name, voxels in files.items():
        path = folder / f"{name}.tif"
        voxels = numpy.ascontiguousarray(voxels)
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.SetImageIO("TIFFImageIO")
        writer.UseCompressionOff()
        writer.Execute(SimpleITK.GetImageFromArray(voxels))
        assert (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) == voxels).all()
        if name.endswith("groundtruth"):
            assert 0.02 < (voxels > 0).mean() < 0.5, f"{name}: {(voxels > 0).mean()}"
    result = {("em" if name == "volumedata" else name): truth(numpy.ascontiguousarray(v)) for name, v in files.items()}
    for name in ("training", "testing"):
        result[f"{name}/labels/mitochondria"] = result.pop(f"{name}_groundtruth")
    return result
