"""Writes large.json: the SHA-256 of what torchvision's RandAugment operations (Pillow's pixels) make of images that are long in one direction, about and beyond the 32,767 pixels
up to which Pillow's affine transforms count in 16-bit fractions. The images are made by the formula below.

    python test/data/torchvision/large.py     # needs torchvision, Pillow and numpy
"""

import hashlib
import json
import pathlib

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

Image.MAX_IMAGE_PIXELS = None
BINS, LEVEL = 31, 9
# Height, width. The shear of level 9 moves a row by 0.09 of its number: 364,000 rows reach 32,768 pixels.
SIZES = [
    (3, 32764), (3, 32767), (3, 32768), (7, 33000), (2, 65535), (1, 70000), (8, 60000), (1, 32767), (2, 400000),
    (32764, 3), (32767, 3), (32768, 3), (33000, 7), (65535, 2), (70000, 1), (60000, 8), (32767, 1), (400000, 2),
    (400, 20), (20, 400), (100, 1), (1, 100), (1, 1),  # whole rows come from outside
]  # fmt: skip


def image(height, width):
    row, column, channel = np.ogrid[0:height, 0:width, 0:3]
    return Image.fromarray(((row * 73 + column * 151 + channel * 29 + ((row * column) >> 4)) & 255).astype(np.uint8))


space = RandAugment(num_magnitude_bins=BINS)._augmentation_space
cases = []
for height, width in SIZES:
    image = image(height, width)
    for name, (magnitudes, signed) in space(BINS, (height, width)).items():
        for sign in (1, -1) if signed else (1,):
            magnitude = sign * float(magnitudes[LEVEL].item()) if magnitudes.ndim > 0 else 0.0
            out = _apply_op(image, name, magnitude, interpolation=InterpolationMode.NEAREST, fill=None)
            digest = hashlib.sha256(np.asarray(out).tobytes()).hexdigest()[:16]
            cases.append({"height": height, "width": width, "name": name, "sign": sign, "sha256": digest})
lines = ",\n    ".join(json.dumps(case) for case in cases)
text = f'{{\n  "by": "torchvision {torchvision.__version__}, Pillow {PIL.__version__}",\n  "level": {LEVEL},\n  "cases": [\n    {lines}\n  ]\n}}\n'
pathlib.Path(__file__).with_suffix(".json").write_text(text)
