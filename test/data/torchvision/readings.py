"""Writes readings.json: what torchvision reads from the images in ../shared/data, in the layouts that gqa reads: counts, class order, and SHA-256 of labels, lists and decoded pixels.

    python test/data/torchvision/readings.py ../shared/data     # needs torchvision, Pillow and numpy; half a minute
    python test/data/torchvision/readings.py test/images        # the key `carried` alone: the images that come with the project

CIFAR: the images of cifar10-jpeg.zip, decoded, as files of the official python version (pickled as Python 2 did). Order of either split: by number within the class, then by class.
CIFAR-100 is made of the same images with labels made up: fine = 10 * class + number % 10, coarse = 2 * class + number % 2.
"""

import hashlib
import io
import json
import pathlib
import shutil
import struct
import sys
import tempfile
import zipfile

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, Food101, ImageFolder
from torchvision.datasets.folder import pil_loader

shared = pathlib.Path(sys.argv[1])
# Images of each class: those of the quick test, and all.
SIZES = {"part": {"train": 20, "test": 4}, "full": {"train": 5000, "test": 1000}}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def lines(items):
    return sha256("\n".join(items).encode())


def pixels(paths):
    found = hashlib.sha256()
    for path in paths:
        found.update(np.asarray(pil_loader(str(path))).tobytes())
    return found.hexdigest()


# Pickles as CIFAR's are: protocol 2 by Python 2, where str is bytes.
class Python2Pickle:
    def __init__(self):
        self.out = io.BytesIO()
        self.memo = 0

    def put(self, data):
        self.out.write(data)

    def remember(self):
        self.put(b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo))
        self.memo += 1

    def text(self, text):
        data = text.encode()
        self.put(b"U" + bytes([len(data)]) + data)
        self.remember()

    def number(self, n):
        self.put(b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n) if n < 65536 else b"J" + struct.pack("<i", n))

    def items(self, items, write):
        self.put(b"]")
        self.remember()
        for start in range(0, len(items), 1000):
            self.put(b"(")
            for item in items[start : start + 1000]:
                write(item)
            self.put(b"e")

    def array(self, array):
        self.put(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.remember()
        self.put(b"cnumpy\nndarray\n")
        self.remember()
        self.put(b"K\x00\x85")
        self.remember()
        self.text("b")
        self.put(b"\x87")
        self.remember()
        self.put(b"R")
        self.remember()
        self.put(b"(K\x01")
        for n in array.shape:
            self.number(n)
        self.put(b"\x86")
        self.remember()
        self.put(b"cnumpy\ndtype\n")
        self.remember()
        self.text("u1")
        self.put(b"K\x00K\x01\x87")
        self.remember()
        self.put(b"R")
        self.remember()
        self.put(b"(K\x03")
        self.text("|")
        self.put(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
        self.remember()
        self.put(b"b\x89")
        data = array.tobytes()
        self.put(b"T" + struct.pack("<I", len(data)) + data)
        self.remember()
        self.put(b"t")
        self.remember()
        self.put(b"b")

    def dictionary(self, entries):
        self.put(b"\x80\x02}")
        self.remember()
        self.put(b"(")
        for key, value in entries.items():
            self.text(key)
            if isinstance(value, np.ndarray):
                self.array(value)
            elif isinstance(value, str):
                self.text(value)
            else:
                self.items(value, self.text if isinstance(value[0], str) else self.number)
        self.put(b"u.")
        return self.out.getvalue()


def write_pickle(path, entries):
    data = Python2Pickle().dictionary(entries)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return [path.name, hashlib.md5(data).hexdigest()]


def cifar(root, sizes):
    decoded = {}
    for path in root.glob("*/*/*.jpg"):
        split, label, file = path.parts[-3:]
        planes = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).reshape(-1)
        decoded[split, int(file[:-4]), label] = planes
    classes = sorted({label for _, _, label in decoded})
    fine_names = [f"fine_{i}" for i in range(100)]
    coarse_names = [f"coarse_{i}" for i in range(20)]
    result = {"classes": classes}
    for size, counts in sizes.items():
        firsts = {split: sorted(key[1:] for key in decoded if key[0] == split and key[1] < counts[split]) for split in counts}
        data = {split: np.stack([decoded[split, number, label] for number, label in firsts[split]]) for split in counts}
        labels = {split: [classes.index(label) for _, label in firsts[split]] for split in counts}
        fine = {split: [10 * classes.index(label) + number % 10 for number, label in firsts[split]] for split in counts}
        coarse = {split: [2 * classes.index(label) + number % 2 for number, label in firsts[split]] for split in counts}
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            per_file = len(labels["train"]) // 5
            ten = root / "cifar-10-batches-py"
            train_list = [
                write_pickle(
                    ten / f"data_batch_{i + 1}",
                    {
                        "batch_label": f"training batch {i + 1} of 5",
                        "labels": labels["train"][i * per_file : (i + 1) * per_file],
                        "data": data["train"][i * per_file : (i + 1) * per_file],
                        "filenames": [f"{n}.png" for n in range(per_file)],
                    },
                )
                for i in range(5)
            ]
            test_list = [write_pickle(ten / "test_batch", {"labels": labels["test"], "data": data["test"]})]
            meta = write_pickle(ten / "batches.meta", {"label_names": classes})
            hundred = root / "cifar-100-python"
            both = [
                write_pickle(hundred / split, {"fine_labels": fine[split], "coarse_labels": coarse[split], "data": data[split]})
                for split in ("train", "test")
            ]
            meta100 = write_pickle(hundred / "meta", {"fine_label_names": fine_names, "coarse_label_names": coarse_names})

            class Ten(CIFAR10):
                pass

            Ten.train_list, Ten.test_list = train_list, test_list
            Ten.meta = {"filename": meta[0], "key": "label_names", "md5": meta[1]}

            class Hundred(CIFAR100):
                pass

            Hundred.train_list, Hundred.test_list = both[:1], both[1:]
            Hundred.meta = {"filename": meta100[0], "key": "fine_label_names", "md5": meta100[1]}
            result[size] = {}
            for split in counts:
                read, read100 = Ten(root, train=split == "train"), Hundred(root, train=split == "train")
                assert read.classes == classes and read100.classes == fine_names
                assert (read.data == read100.data).all()
                result[size][split] = {
                    "images": len(read),
                    "pixels": sha256(np.ascontiguousarray(read.data).tobytes()),
                    "labels": sha256(bytes(read.targets)),
                    "fine": sha256(bytes(read100.targets)),
                    "coarse": sha256(bytes(coarse[split])),
                }
    return result


def tiny_imagenet(root):
    train = ImageFolder(root / "train")
    paths = [pathlib.Path(path) for path, _ in train.samples]
    annotations = [line.split("\t")[:2] for line in (root / "val/val_annotations.txt").read_text().splitlines()]
    return {
        "classes": (root / "wnids.txt").read_text().split(),
        "train": {
            "images": len(paths),
            # ImageFolder sorts the classes: the lines are compared sorted.
            "lines": lines(sorted(f"{pathlib.Path(path).relative_to(root).as_posix()} {train.classes[label]}" for path, label in train.samples)),
            "pixels": pixels(sorted(paths)[::20]),
        },
        "test": {
            "images": len(annotations),
            "lines": lines(f"val/images/{name} {wnid}" for name, wnid in annotations),
            "pixels": pixels(root / "val/images" / name for name, _ in annotations[::10]),
        },
    }


def food101(source):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "food-101"
        shutil.copytree(source, root)
        # torchvision reads the same lists as JSON, which neither the zip nor the project has.
        for split in ("train", "test"):
            listed = {}
            for line in (root / f"meta/{split}.txt").read_text().split():
                listed.setdefault(line.split("/")[0], []).append(line)
            (root / f"meta/{split}.json").write_text(json.dumps(listed))
        result = {}
        for split in ("train", "test"):
            read = Food101(folder, split=split)
            result["classes"] = read.classes
            result[split] = {
                "images": len(read),
                "lines": lines(f"{path.relative_to(root).as_posix()} {label}" for path, label in zip(read._image_files, read._labels)),
                "pixels": pixels(read._image_files[::20]),
            }
        return result


def readings(folder, sizes):
    return {
        "by": f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}",
        "cifar": cifar(folder / "cifar10", sizes),
        "tiny-imagenet": tiny_imagenet(folder / "tiny-imagenet-200"),
        "food101": food101(folder / "food-101"),
    }


file = pathlib.Path(__file__).with_suffix(".json")
before = json.loads(file.read_text())
if (shared / "cifar10").is_dir():
    result = {**before, "carried": readings(shared, {"part": {"train": 5, "test": 1}})}
else:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cifar10-jpeg", "tiny-imagenet-20", "food101-3"):
            zipfile.ZipFile(shared / f"{name}.zip").extractall(folder)
        result = {**readings(pathlib.Path(folder), SIZES), "carried": before["carried"]}
file.write_text(json.dumps(result, indent=2) + "\n")
