"""Trains a small 3-D U-Net to find labels, in a mount that lasts as long as the job:

    emfs sample epfl-hippocampus/training --count 400 --size 64 --region 165x256x256x8 > train.csv
    emfs sample epfl-hippocampus/testing --count 40 --size 64 --seed 1 > test.csv
    emfs stats epfl-hippocampus/training epfl-hippocampus/testing --format json > stats.json
    emfs exec --require-clean -- python train.py train.csv test.csv --labels mitochondria --stats stats.json

Ends with 1 where a read failed, or met voxels that the archive does not have (unless --allow-absent).
"""

import argparse
import json
import os
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader

from emfs_blocks import Blocks, ReadFailed, Stream
from emfs_job import all_read, emfs


def double(before, after):
    layers = [[nn.Conv3d(n, after, 3, padding=1), nn.InstanceNorm3d(after), nn.ReLU()] for n in (before, after)]
    return nn.Sequential(*layers[0], *layers[1])


class UNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down, self.bottom, self.top = double(1, width), double(width, 2 * width), double(3 * width, width)
        self.pool, self.up, self.last = nn.MaxPool3d(2), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv3d(width, 1, 1)

    def forward(self, image):
        fine = self.down(image)
        return self.last(self.top(torch.cat([fine, self.up(self.bottom(self.pool(fine)))], 1)))[:, 0]


def dice(chance, wanted):
    return (2 * (chance * wanted).sum() + 1) / (chance.sum() + wanted.sum() + 1)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--labels", required=True)
    parser.add_argument("--stats", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reader", default="zarr")
    parser.add_argument("--position", help="file of the rows of the first epoch that were read; goes on behind them")
    parser.add_argument("--allow-absent", action="store_true")
    return parser.parse_args()


def main(args):
    mount, torch_device = os.environ["EMFS_MOUNT"], "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = UNet().to(torch_device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    given = {"labels": args.labels, "reader": args.reader}
    skip = [int(row) for row in open(args.position)] if args.position and os.path.exists(args.position) else []

    def batches(path, stats, **options):
        position = args.position if options.get("seed") == 0 else None
        stream = Stream(Blocks(path, stats=stats, position=position, **given), **options)
        for image, labels, _ in DataLoader(stream, batch_size=args.batch, num_workers=args.workers):
            yield image.to(torch_device), (labels > 0).float().to(torch_device)

    waited, samples, begin = 0.0, 0, time.perf_counter()
    for epoch in range(args.epochs):
        asked = time.perf_counter()
        for image, wanted in batches(args.train, args.stats, shuffle=64, seed=epoch, skip=skip if epoch == 0 else ()):
            waited += time.perf_counter() - asked
            turned = [axis for axis in (1, 2, 3) if torch.rand(()) < 0.5]
            image, wanted = image.flip([axis + 1 for axis in turned]), wanted.flip(turned)
            found = model(image)
            loss = nn.functional.binary_cross_entropy_with_logits(found, wanted) + 1 - dice(found.sigmoid(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            samples, asked = samples + len(image), time.perf_counter()
        print(f"epoch {epoch}: loss {loss.item():.3f}", flush=True)
    seconds = time.perf_counter() - begin
    report = json.loads(emfs("status", mount, "--json").stdout)
    fetched = sum(host["bytes"] for host in report["hosts"].values())
    print(f"{samples / seconds:.1f} samples/s, {waited / seconds:.1%} of the time waiting, {fetched / max(samples, 1):.0f} bytes fetched per sample")
    model.eval()
    with torch.no_grad():
        pairs = [((model(image) > 0).float(), wanted) for image, wanted in batches(args.test, args.stats)]
    found, wanted = map(torch.cat, zip(*pairs))
    print(f"dice {dice(found, wanted):.3f}")
    # Where image and labels lie on each other, this is much less.
    print(f"dice with labels shifted by 8 voxels {dice(found, wanted.roll(8, 3)):.3f}", flush=True)


if __name__ == "__main__":
    args = arguments()
    try:
        with all_read(args.allow_absent):
            main(args)
    except ReadFailed as error:
        sys.exit(f"train.py: {error}")
