"""A run's exported model in timm and in transformers, against the logits of `gqa eval`, on the run's test images.

    python bench/export_vs_torch.py RUN [MORE RUNS] [--variant-set key=value …]

Needs torch, timm, transformers, safetensors, Pillow. The run's data set is an image folder whose images have the size
of the model's input, so that both sides see the same pixels without a resize.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import ViTForImageClassification

parser = argparse.ArgumentParser()
parser.add_argument("runs", nargs="+")
parser.add_argument("--eval-set", action="append", default=[], help="for gqa eval, e.g. model.eval_noise=off")
parser.add_argument("--images", required=True, help="folder <class>/*.jpg that gqa eval reads as its test split")
args = parser.parse_args()


def gqa(*words):
    subprocess.run(["node", "bin/gqa.js", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pixels(mean, std):
    files = sorted(Path(args.images).glob("*/*.jpg"))
    stack = numpy.stack([numpy.asarray(Image.open(file).convert("RGB"), dtype=numpy.float32) for file in files])
    scaled = (stack / 255 - numpy.array(mean, dtype=numpy.float32)) / numpy.array(std, dtype=numpy.float32)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


for run in args.runs:
    folder = Path(tempfile.mkdtemp())
    sets = [word for one in args.eval_set for word in ("--set", one)]
    gqa("eval", run, "--logits", str(folder / "logits.safetensors"), *sets)
    own = load_file(folder / "logits.safetensors")["logits"]
    gqa("export", run, "--format", "timm", "--expand", "--out", str(folder / "timm"))
    gqa("export", run, "--format", "huggingface", "--expand", "--out", str(folder / "hf"))
    config = json.loads((folder / "timm/config.json").read_text())
    cfg = config["pretrained_cfg"]
    images = pixels(cfg["mean"], cfg["std"])
    model = timm.create_model(config["architecture"], num_classes=config["num_classes"], **config["model_args"]).eval()
    model.load_state_dict(load_file(folder / "timm/model.safetensors"))
    other = ViTForImageClassification.from_pretrained(folder / "hf").eval()
    with torch.no_grad():
        by_timm = model(images)
        by_transformers = other(pixel_values=images).logits
    print(
        f"{run}: {len(images)} images, largest logit {own.abs().max():.2f}; "
        f"timm {(by_timm - own).abs().max():.1e}, transformers {(by_transformers - own).abs().max():.1e}"
    )
