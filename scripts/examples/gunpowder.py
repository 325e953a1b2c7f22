"""Feeds the blocks of a list to a pipeline of gunpowder: emfs exec -- python gunpowder.py list.csv LABELS [--allow-absent]

Prints a line per block: its row, the mean of the image and the share of labelled voxels, after gunpowder's own augmentation. Ends
with 1 where a read failed, or met voxels that the archive does not have, unless they are allowed.
"""

import os
import sys

# This file has the library's name, and whoever imports that gets the library.
before, here = list(sys.path), os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in before if os.path.abspath(path or ".") != here]
sys.modules.pop("gunpowder", None)
import gunpowder as gp  # noqa: E402

sys.path = before
import emfs_job  # noqa: E402


def main(path, labels):
    rows = emfs_job.rows(path)
    image, truth = gp.ArrayKey("IMAGE"), gp.ArrayKey("TRUTH")
    for store, level in dict.fromkeys((row["store"], row["level"]) for row in rows):
        name = f"{os.environ['EMFS_MOUNT']}/{store}"
        sources = (gp.ZarrSource(name, {image: level}), gp.ZarrSource(f"{name}/labels/{labels}", {truth: level}))
        pipeline = sources + gp.MergeProvider() + gp.SimpleAugment(mirror_probs=[0, 0, 0], transpose_probs=[0, 0, 0])
        with gp.build(pipeline):
            voxel, begin = pipeline.spec[image].voxel_size, pipeline.spec[image].roi.begin
            for number, row in enumerate(rows):
                if (row["store"], row["level"]) == (store, level):
                    start, size = (gp.Coordinate(int(row[of + axis]) for axis in "zyx") for of in ("", "d"))
                    box = gp.ArraySpec(roi=gp.Roi(begin + voxel * start, voxel * size))
                    # An error of the mount is raised here, and ends the job.
                    batch = pipeline.request_batch(gp.BatchRequest({image: box, truth: box}))
                    print(f"{number},{batch[image].data.mean():.6f},{(batch[truth].data > 0).mean():.6f}")


if __name__ == "__main__":
    with emfs_job.all_read("--allow-absent" in sys.argv):
        main(*sys.argv[1:3])
