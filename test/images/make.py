"""Makes the images of this folder: few tens, drawn by formulas, in the layouts of published data sets, so that tests of reading them run in a clone that has no other images.

    python test/images/make.py     # needs Pillow and numpy; Pillow 13 made those that are committed

What torchvision reads from them is in test/data/torchvision/readings.json (`carried`), made by readings.py.
"""

import pathlib

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
WNIDS = ["n02124075", "n04067472", "n04540053"]
FOODS = ["apple_pie", "cheesecake", "pizza"]


def drawn(seed, height, width):
    """Waves of three colours, a disc, a bar, and noise on a part of the image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    fx, fy, phase = rng.uniform(1, 9, 3), rng.uniform(1, 9, 3), rng.uniform(0, 6.28, 3)
    image = 127 + 100 * np.sin(6.28 * (x[..., None] * fx + y[..., None] * fy) + phase)
    cx, cy, r = rng.uniform(0.2, 0.8, 2).tolist() + [rng.uniform(0.1, 0.3)]
    image[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    image[(x * fy[0]) % 1 < 0.08] = rng.uniform(0, 255, 3)
    image[height // 2 :, : width // 3] += rng.normal(0, 40, (height - height // 2, width // 3, 3))
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def save(seed, size, path):
    path = here / path
    path.parent.mkdir(parents=True, exist_ok=True)
    image = drawn(seed, *size)
    if seed % 11 == 0:
        image = image.convert("L")  # grey, as some published images are
    options = {} if image.mode == "L" else {"subsampling": seed % 3}
    image.save(path, "JPEG", quality=70 + seed % 25, progressive=seed % 4 == 0, **options)


def text(path, lines):
    (here / path).parent.mkdir(parents=True, exist_ok=True)
    (here / path).write_text("".join(f"{line}\n" for line in lines))


for label, name in enumerate(CIFAR):
    for split, count in (("train", 5), ("test", 1)):
        for i in range(count):
            save(1000 + label * 10 + i + (7 if split == "test" else 0), (32, 32), f"cifar10/{split}/{name}/{i:04d}.jpg")

text("tiny-imagenet-200/wnids.txt", WNIDS)
text("tiny-imagenet-200/words.txt", [f"{wnid}\tclass {i}" for i, wnid in enumerate(WNIDS)])
for label, wnid in enumerate(WNIDS):
    for i in range(4):
        save(2000 + label * 10 + i, (64, 64), f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{i}.JPEG")
annotations = []
for i in range(6):
    save(2100 + i, (64, 64), f"tiny-imagenet-200/val/images/val_{i}.JPEG")
    annotations.append(f"val_{i}.JPEG\t{WNIDS[(2 * i) % 3]}\t0\t0\t62\t62")
text("tiny-imagenet-200/val/val_annotations.txt", annotations)

text("food-101/meta/classes.txt", FOODS)
text("food-101/meta/labels.txt", [food.replace("_", " ").capitalize() for food in FOODS])
lists = {"train": [], "test": []}
for label, food in enumerate(FOODS):
    for i in range(4):
        seed = 3000 + label * 10 + i
        save(seed, (80 + 9 * i, 120 - 7 * i), f"food-101/images/{food}/{seed}.jpg")
        lists["train" if i < 3 else "test"].append(f"{food}/{seed}")
for split, entries in lists.items():
    text(f"food-101/meta/{split}.txt", entries)
