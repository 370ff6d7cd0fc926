"""Writes resize.json: what torchvision's Resize makes of images that both sides compute, as SHA-256 of the bytes.

    python test/data/torchvision/resize.py     # needs torchvision, Pillow and numpy

Byte i of an image is (i * i * 7 + i // 11) % 256. Sizes: larger, smaller, both; tall ones, which Pillow (as of 13) resizes along the columns first; one pixel.
"""

import hashlib
import json
import pathlib

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.transforms import Resize

SIZES = [
    (32, 32, 224, 224),
    (512, 384, 224, 224),
    (384, 512, 224, 224),
    (300, 700, 224, 224),
    (448, 671, 224, 224),
    (448, 672, 224, 224),
    (448, 673, 224, 224),
    (500, 100, 224, 224),
    (100, 500, 224, 224),
    (223, 225, 224, 224),
    (224, 500, 224, 224),
    (500, 224, 224, 224),
    (64, 64, 32, 48),
    (61, 37, 64, 20),
    (41, 90, 50, 64),
    (1, 1, 5, 3),
    (1, 40, 8, 8),
    (977, 3, 16, 16),
]


def main():
    cases = []
    for width, height, to_width, to_height in SIZES:
        i = np.arange(height * width * 3, dtype=np.int64)
        pixels = ((i * i * 7 + i // 11) % 256).astype(np.uint8).reshape(height, width, 3)
        resized = np.asarray(Resize((to_height, to_width))(Image.fromarray(pixels)))
        cases.append(
            {
                "from": [height, width],
                "to": [to_height, to_width],
                "sha256": hashlib.sha256(resized.tobytes()).hexdigest(),
            }
        )
    document = {"made_by": f"torchvision {torchvision.__version__.split('+')[0]}, Pillow {PIL.__version__}", "cases": cases}
    place = pathlib.Path(__file__).with_suffix(".json")
    place.write_text(json.dumps(document, indent=1) + "\n")


main()
