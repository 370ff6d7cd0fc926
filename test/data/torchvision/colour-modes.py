"""Writes colour-modes.json: small made-up images in every colour mode, each as the file's bytes and as the RGB that torchvision's image loader
(`Image.open(file).convert('RGB')`, torchvision/datasets/folder.py) makes of it.

    python test/data/torchvision/colour-modes.py     # needs torchvision, Pillow and numpy
"""

import base64
import io
import json
import pathlib
import shutil
import struct
import tempfile
import zlib

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.datasets.folder import pil_loader

HEIGHT, WIDTH = 12, 16
row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
pixels = np.stack([column * 16, row * 21, (column + row) * 9], -1).astype(np.uint8)
alpha = (column * 17).astype(np.uint8)
rgb = Image.fromarray(pixels)
rgba = Image.fromarray(np.dstack([pixels, alpha]))
inks = Image.fromarray(np.dstack([255 - pixels, (row * 15).astype(np.uint8)]), "CMYK")


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png16(colour_type, samples):
    """Pillow writes no 16-bit colour PNG."""
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def without_marker(jpeg, marker):
    at = jpeg.index(bytes([0xFF, marker]))
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] :]


def with_transform(jpeg, transform):
    """Another colour transform in Adobe's marker: 2 reads the same components as YCCK."""
    at = jpeg.index(b"Adobe") + 11
    return jpeg[:at] + bytes([transform]) + jpeg[at + 1 :]


wide = pixels.astype(np.uint16) * 257 ^ 0x81
wide_alpha = alpha.astype(np.uint16) * 257
turned = Image.Exif()
turned[0x0112] = 6
cmyk = saved(inks, "JPEG", quality=90)

images = {
    "rgb.jpg": saved(rgb, "JPEG", quality=90),
    "rgb-444.jpg": saved(rgb, "JPEG", quality=90, subsampling=0),
    "progressive.jpg": saved(rgb, "JPEG", quality=90, progressive=True),
    "exif-orientation-6.jpg": saved(rgb, "JPEG", quality=90, exif=turned),
    "grey.jpg": saved(rgb.convert("L"), "JPEG", quality=90),
    "cmyk.jpg": cmyk,
    "cmyk-without-adobe.jpg": without_marker(cmyk, 0xEE),
    "ycck.jpg": with_transform(cmyk, 2),
    "rgb.png": saved(rgb, "PNG"),
    "exif-orientation-6.png": saved(rgb, "PNG", exif=turned),
    "rgba.png": saved(rgba, "PNG"),
    "rgb-one-colour-transparent.png": saved(rgb, "PNG", transparency=(0, 0, 0)),
    "grey.png": saved(rgb.convert("L"), "PNG"),
    "grey-alpha.png": saved(rgba.convert("LA"), "PNG"),
    "black-and-white.png": saved(rgb.convert("1"), "PNG"),
    "palette.png": saved(rgb.quantize(32), "PNG"),
    "palette-2.png": saved(rgb.quantize(2), "PNG"),
    "palette-alpha.png": saved(rgb.quantize(32), "PNG", transparency=bytes(range(0, 256, 8))),
    "rgb-16.png": png16(2, wide),
    "rgba-16.png": png16(6, np.dstack([wide, wide_alpha])),
    "grey-alpha-16.png": png16(4, np.dstack([wide[..., 0], wide_alpha])),
    "grey-16.png": png16(0, wide[..., :1]),
    "rgb.webp": saved(rgb, "WEBP", quality=80),
    "rgba.webp": saved(rgba, "WEBP", quality=80),
    "rgba-lossless.webp": saved(rgba, "WEBP", lossless=True, exact=True),
    "animated.webp": saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)], lossless=True),
}


def entry(data):
    path = pathlib.Path(tempfile.mkdtemp()) / "image"
    path.write_bytes(data)
    mode = Image.open(path).mode
    loaded = np.asarray(pil_loader(str(path)))
    assert loaded.shape == (HEIGHT, WIDTH, 3)
    shutil.rmtree(path.parent)
    return {"mode": mode, "file": base64.b64encode(data).decode(), "rgb": base64.b64encode(loaded.tobytes()).decode()}


result = {
    "by": f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}",
    "height": HEIGHT,
    "width": WIDTH,
    "images": {name: entry(data) for name, data in images.items()},
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
