"""Writes crop.json: what Pillow's bicubic resize and timm's evaluation transform make of images that both sides compute, as SHA-256 of the bytes.

    python test/data/torchvision/crop.py     # needs timm, torchvision, Pillow and numpy

Byte i of an image is (i * i * 7 + i // 11) % 256, or its highest bit alone (`steps`), so that bicubic sums leave 0 to 255 and have to be cut.
Sizes: landscape, portrait, square, smaller and larger than the target, tall ones, which Pillow (as of 13) resizes along the columns first, one pixel wide or high, odd differences
(whose half torchvision rounds to even).
"""

import hashlib
import json
import pathlib

import numpy as np
import PIL
import timm
import torchvision
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval

RESIZED = [
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

# Width, height, size of the model, crop_pct.
CROPPED = [
    (512, 384, 224, 0.9),
    (384, 512, 224, 0.9),
    (512, 512, 224, 0.9),
    (512, 384, 224, 0.875),
    (383, 512, 224, 0.95),
    (500, 375, 224, 1.0),
    (375, 500, 224, 1.0),
    (224, 224, 224, 0.9),
    (248, 248, 224, 0.9),
    (256, 256, 224, 0.875),
    (224, 224, 224, 1.0),
    (100, 67, 224, 0.875),
    (32, 32, 224, 0.9),
    (32, 32, 32, 0.875),
    (32, 48, 28, 0.96),
    (1, 60, 32, 0.875),
    (60, 1, 32, 0.875),
    (1, 1, 32, 0.9),
    (97, 300, 32, 0.9),
    (300, 97, 32, 0.9),
    (41, 90, 33, 0.875),
    (90, 41, 33, 0.875),
    (227, 400, 224, 0.99),
    (400, 227, 224, 0.99),
    (500, 1200, 224, 0.9),
    (700, 300, 112, 0.875),
]


def image(width, height, steps):
    i = np.arange(height * width * 3, dtype=np.int64)
    pixels = ((i * i * 7 + i // 11) % 256).astype(np.uint8)
    if steps:
        pixels = (pixels >> 7) * 255
    return Image.fromarray(pixels.astype(np.uint8).reshape(height, width, 3))


def digest(pixels):
    return hashlib.sha256(np.asarray(pixels).tobytes()).hexdigest()


def main():
    resized = [
        {
            "from": [height, width],
            "to": [to_height, to_width],
            "steps": steps,
            "sha256": digest(image(width, height, steps).resize((to_width, to_height), Image.Resampling.BICUBIC)),
        }
        for width, height, to_width, to_height in RESIZED
        for steps in (False, True)
    ]
    cropped = []
    for width, height, size, crop_pct in CROPPED:
        for interpolation in ("bilinear", "bicubic"):
            transform = transforms_imagenet_eval(size, crop_pct=crop_pct, interpolation=interpolation, use_prefetcher=True)
            tensor = transform(image(width, height, False))  # [3, size, size] bytes
            assert tensor.shape == (3, size, size) and str(tensor.dtype) == "torch.uint8"
            cropped.append(
                {
                    "from": [height, width],
                    "size": size,
                    "crop_pct": crop_pct,
                    "interpolation": interpolation,
                    "sha256": digest(tensor.permute(1, 2, 0).contiguous().numpy()),
                }
            )
    made_by = f"timm {timm.__version__}, torchvision {torchvision.__version__.split('+')[0]}, Pillow {PIL.__version__}"
    place = pathlib.Path(__file__).with_suffix(".json")
    document = {"made_by": made_by, "resized": resized, "cropped": cropped}
    place.write_text(json.dumps(document, indent=1) + "\n")


main()
