"""The paper's input pipeline in torchvision, to be measured beside `gqa bench data` (bench/data-vs-torchvision.mjs starts it).

    python torchvision_loader.py cifar FOLDER    the official binary version of CIFAR-10; images in memory, as torchvision's CIFAR10 holds them
    python torchvision_loader.py folder FOLDER   FOLDER/train/<class>/*: torchvision's ImageFolder

RandAugment -> Resize((224, 224)) -> ToTensor -> Normalize(0.5), DataLoader with --workers processes. For each line on stdin that says `go N` it goes through N images
and answers with one line of JSON: images per second. The first pass over the data is not counted; the workers stay alive between passes.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy
import PIL.Image
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

paper = transforms.Compose(
    [
        transforms.RandAugment(),
        transforms.Resize((224, 224)),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]
)


class Cifar(Dataset):
    def __init__(self, folder):
        records = [
            numpy.fromfile(path, numpy.uint8).reshape(-1, 3073)
            for path in sorted(pathlib.Path(folder).glob("data_batch_*.bin"))
        ]
        records = numpy.concatenate(records)
        self.targets = records[:, 0].tolist()
        self.data = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return paper(PIL.Image.fromarray(self.data[index])), self.targets[index]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["cifar", "folder"])
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    if options.kind == "cifar":
        dataset = Cifar(options.folder)
    else:
        dataset = ImageFolder(pathlib.Path(options.folder) / "train", paper)

    print(json.dumps({"images": len(dataset), "torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}), flush=True)
    loaders = {}
    for line in sys.stdin:
        count = min(int(line.split()[1]), len(dataset))
        if count not in loaders:
            chosen = Subset(dataset, torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:count].tolist())
            loaders[count] = DataLoader(chosen, options.batch_size, shuffle=True, num_workers=options.workers, persistent_workers=True)
            for _ in loaders[count]:
                pass
        started = time.perf_counter()
        seen = sum(len(labels) for _, labels in loaders[count])
        print(json.dumps({"images_per_s": seen / (time.perf_counter() - started), "images": seen}), flush=True)


main()
