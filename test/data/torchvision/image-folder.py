"""Writes image-folder.json: the classes and samples that torchvision's ImageFolder finds among names that are sorted or counted in unexpected ways. Files are empty: nothing is decoded.

    python test/data/torchvision/image-folder.py     # needs torchvision; a second
"""

import json
import pathlib
import tempfile

from torchvision.datasets import ImageFolder

FILES = [
    "B/1.jpg", "b/10.JPG", "b/9.png", "a/1.jpeg", "a/notes.txt", "a/Thumbs.db", "a b/1.webp", "a-b/x.PNG", "ä/1.jpg",
    "caf\u00e9/1.jpg", "cafe\u0301/1.jpg", "cafe\u0301/2.jpg", "\uff21/1.jpg", "\U0001f600/1.jpg", "a\nb/1.jpg", "10/1.jpg", "9/1.jpg", "#1/1.jpg",
]
with tempfile.TemporaryDirectory() as folder:
    for name in FILES:
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    read = ImageFolder(folder)
    samples = [[str(pathlib.Path(path).relative_to(folder)), label] for path, label in read.samples]
result = {"files": FILES, "classes": read.classes, "samples": samples}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
