"""Writes damaged.json: small images and ways to damage their files, each with the SHA-256 of the RGB that Pillow makes of it (`Image.open(file).convert('RGB')`, as torchvision's
image loader), or with what Pillow says when it refuses. A damage is a list of changes [offset, bytes removed, bytes put there in hexadecimal], of the file as it is after the one before.

    python test/data/torchvision/damaged.py     # needs Pillow and numpy
"""

import base64
import hashlib
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image

warnings.simplefilter("ignore")
HEIGHT, WIDTH = 48, 72
random = np.random.default_rng(3)
row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
pixels = ((row * 3 + column * 2)[:, :, None] + np.array([0, 60, 120]) + random.integers(0, 40, (HEIGHT, WIDTH, 3))) % 256
rgb = Image.fromarray(pixels.astype(np.uint8))


def saved(kind, image=rgb, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(file):
    try:
        return {"rgb": hashlib.sha256(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).tobytes()).hexdigest()}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}".split(" <")[0]}


def changed(file, changes):
    for at, removed, inserted in changes:
        file = file[:at] + bytes.fromhex(inserted) + file[at + removed :]
    return file


def jpeg_damages(file):
    """By name; offsets are told by the segments."""
    segments, at = [], 2
    while not segments or segments[-1][0] != 0xDA:
        length = struct.unpack(">H", file[at + 2 : at + 4])[0] + 2
        segments.append((file[at + 1], at, length))
        at += length
    scan, end = at, len(file) - 2
    middle = (scan + end) // 2
    second, last = segments[1][1], segments[-1][1]
    frame = next(at for marker, at, _ in segments if marker in (0xC0, 0xC2))
    table, table_length = next((at, length) for marker, at, length in segments if marker == 0xC4)
    quantization, quantization_length = [(at, length) for marker, at, length in segments if marker == 0xDB][-1]
    high = struct.pack(">H", HEIGHT + 40).hex()
    return {
        "nothing": [],
        "the last 300 bytes of the scan dropped": [[end - 300, 300, ""]],
        "all of the scan dropped": [[scan, end - scan, ""]],
        "400 bytes dropped in the middle of the scan": [[middle - 200, 400, ""]],
        "restart marker in the scan": [[middle, 0, "ffd0"]],
        "APP0 of 4 bytes in the scan": [[middle, 0, "ffe00004abcd"]],
        "APP0 in the scan that leads beyond the end": [[middle, 0, "ffe0ffff"]],
        "comment in the scan": [[middle, 0, "fffe00046162"]],
        "unknown marker in the scan": [[middle, 0, "ff72"]],
        "second frame header in the scan": [[middle, 0, file[frame : frame + 19].hex()]],
        "second scan in the scan": [[middle, 0, file[last:scan].hex()]],
        "Huffman table in the scan": [[middle, 0, "ffc40013f0" + "01" * 16]],
        "start of image in the scan": [[middle, 0, "ffd8"]],
        "end of image in the scan": [[middle, 0, "ffd9"]],
        "half of the scan dropped, end kept": [[middle, end - middle, ""]],
        "100 bytes of 0 in the scan": [[middle, 100, "00" * 100]],
        "100 bytes of ff in the scan": [[middle, 100, "ff" * 100]],
        "bytes before a segment": [[second, 0, "67617262616765"]],
        "ff 00 before a segment": [[second, 0, "ff00"]],
        "ff ff before a segment": [[second, 0, "ffff"]],
        "restart marker before a segment": [[second, 0, "ffd3"]],
        "unknown marker before a segment": [[second, 0, "ff72"]],
        "TEM before a segment": [[second, 0, "ff01"]],
        "bytes before the start of scan": [[last, 0, "67617262616765"]],
        "bytes before the end of image": [[end, 0, "12345678" * 4]],
        "zeros before the end of image": [[end, 0, "00" * 8]],
        "bytes behind the end of image": [[end + 2, 0, "747261696c" * 20]],
        "the beginning of another image behind it": [[end + 2, 0, file[:200].hex()]],
        "no end of image": [[end, 2, ""]],
        "half of the end of image": [[end + 1, 1, ""]],
        "cut in the scan": [[middle, len(file), ""]],
        "cut in the header": [[second + 6, len(file), ""]],
        "DNL with the same height": [[end, 0, "ffdc0004" + struct.pack(">H", HEIGHT).hex()]],
        "height 0": [[frame + 5, 2, "0000"]],
        "height 0, DNL": [[end, 0, "ffdc0004" + struct.pack(">H", HEIGHT).hex()], [frame + 5, 2, "0000"]],
        "header of more rows": [[frame + 5, 2, high]],
        "header of fewer rows": [[frame + 5, 2, struct.pack(">H", HEIGHT - 24).hex()]],
        "header of more columns": [[frame + 7, 2, struct.pack(">H", WIDTH + 32).hex()]],
        "12 bits": [[frame + 4, 1, "0c"]],
        "arithmetic coding": [[frame + 1, 1, "c9"]],
        "lossless": [[frame + 1, 1, "c3"]],
        "two components": [[frame + 9, 1, "02"]],
        "sampling 4:4:1 of the first": [[frame + 11, 1, "41"]],
        "sampling 1 × 4 of the first": [[frame + 11, 1, "14"]],
        "sampling 3 × 3 of the first": [[frame + 11, 1, "33"]],
        "sampling 0": [[frame + 11, 1, "00"]],
        "restart interval of 65535": [[frame, 0, "ffdd0004ffff"]],
        "restart interval of 1": [[frame, 0, "ffdd00040001"]],
        "Huffman values exchanged": [[table + 22, 4, file[table + 22 : table + 26][::-1].hex()]],
        "Huffman counts wrong": [[table + 8, 1, "ff"]],
        "no Huffman table": [[table, table_length, ""]],
        "no quantization table": [[quantization, quantization_length, ""]],
        "first segment too long": [[4, 2, "012c"]],
        "EXIF damaged": [[2, 0, "ffe100204578696600004d4d002a" + "ff" * 18]],
        "Adobe marker of transform 0": [[2, 0, "ffee000e41646f626500640000000000"]],
        "Adobe marker of transform 1": [[2, 0, "ffee000e41646f626500640000000001"]],
        "Adobe marker of transform 2": [[2, 0, "ffee000e41646f626500640000000002"]],
        "Adobe marker of transform 5": [[2, 0, "ffee000e41646f626500640000000005"]],
        "JFIF 2": [[11, 1, "02"]],
        "second start of image": [[2, 0, "ffd8"]],
        "spectral selection wrong": [[scan - 3, 3, "011000"]],
    }


def chunk(name, data, wrong=0):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ wrong)


def png_damages(file):
    data = file.index(b"IDAT")
    length = struct.unpack(">I", file[data - 4 : data])[0]
    crc = data + 4 + length
    return {
        "nothing": [],
        "cut": [[data + length // 2, len(file), ""]],
        "no IEND": [[crc + 4, 12, ""]],
        "IEND of a wrong CRC": [[len(file) - 1, 1, "00"]],
        "IHDR of a wrong CRC": [[29, 4, "00000000"]],
        "zlib's sum wrong": [[crc - 4, 8, "00000000" + struct.pack(">I", zlib.crc32(file[data : crc - 4] + bytes(4))).hex()]],
        "bytes of 255 in the data": [[data + 2000, 20, "ff" * 20]],
        "bytes behind the end": [[len(file), 0, "78" * 50]],
        "unknown chunk": [[data - 4, 0, chunk(b"abCd", b"zz").hex()]],
        "tEXt of a wrong CRC behind the data": [[crc + 4, 0, chunk(b"tEXt", b"a\0b", 1).hex()]],
        "tEXt of a wrong CRC": [[data - 4, 0, chunk(b"tEXt", b"a\0b", 1).hex()]],
        "profile damaged": [[data - 4, 0, chunk(b"iCCP", b"name\0\0notzlib").hex()]],
        "EXIF damaged": [[data - 4, 0, chunk(b"eXIf", b"notexif").hex()]],
        "transparency too long": [[data - 4, 0, chunk(b"tRNS", bytes(20)).hex()]],
        "IDAT of a wrong CRC": [[crc, 4, "00000000"]],
    }


def webp_damages(file):
    return {
        "nothing": [],
        "cut": [[len(file) // 2, len(file), ""]],
        "the last byte dropped": [[len(file) - 1, 1, ""]],
        "bytes behind the end": [[len(file), 0, "78797a" * 10]],
        "100 bytes dropped": [[600, 100, ""]],
        "50 bytes of 0": [[600, 50, "00" * 50]],
    }


images = {
    "4:2:0.jpg": (saved("JPEG", quality=80), jpeg_damages),
    "4:4:4.jpg": (saved("JPEG", quality=80, subsampling=0), jpeg_damages),
    "grey.jpg": (saved("JPEG", Image.fromarray(pixels[:, :, 0].astype(np.uint8)), quality=80), jpeg_damages),
    "restarts.jpg": (saved("JPEG", quality=80, restart_marker_blocks=4), jpeg_damages),
    "progressive.jpg": (saved("JPEG", quality=80, progressive=True), jpeg_damages),
    "cmyk.jpg": (saved("JPEG", rgb.convert("CMYK"), quality=80), jpeg_damages),
    "a.png": (saved("PNG"), png_damages),
    "lossy.webp": (saved("WEBP", quality=80), webp_damages),
    "lossless.webp": (saved("WEBP", lossless=True), webp_damages),
}
result = {
    "by": f"Pillow {PIL.__version__}",
    "height": HEIGHT,
    "width": WIDTH,
    "images": {
        name: {
            "file": base64.b64encode(file).decode(),
            "damages": {what: {"changes": changes, **shown(changed(file, changes))} for what, changes in damages(file).items()},
        }
        for name, (file, damages) in images.items()
    },
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
