"""A run's exported model elsewhere, against the logits of `gqa eval`, on the run's test images: timm, transformers, the
paper's code (a checkout of zohaib-khan5040/key-driven-gqa, with --paper), ONNX Runtime, and TensorFlow.

    python bench/export_vs_torch.py RUN [MORE RUNS] --images FOLDER [--paper FOLDER] [--eval-set key=value …]

Needs torch, timm, transformers, safetensors, Pillow; onnxruntime, tensorflow and einops (the paper's code) are used where they are installed. The run's data set is an image folder whose images have the size
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
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import ViTForImageClassification

parser = argparse.ArgumentParser()
parser.add_argument("runs", nargs="+")
parser.add_argument("--eval-set", action="append", default=[], help="for gqa eval, e.g. model.eval_noise=off")
parser.add_argument("--paper", help="folder of the paper's code")
parser.add_argument("--images", required=True, help="folder <class>/*.jpg that gqa eval reads as its test split")
args = parser.parse_args()


def gqa(*words):
    subprocess.run(["node", "bin/gqa.js", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pixels(mean, std):
    files = sorted(Path(args.images).glob("*/*.jpg"))
    stack = numpy.stack([numpy.asarray(Image.open(file).convert("RGB"), dtype=numpy.float32) for file in files])
    scaled = (stack / 255 - numpy.array(mean, dtype=numpy.float32)) / numpy.array(std, dtype=numpy.float32)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


def by_onnx(folder, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "onnx/model.onnx"))
    return torch.cat([torch.from_numpy(session.run(None, {"pixel_values": image[None].numpy()})[0]) for image in images])


def by_tensorflow(folder, images):
    import tensorflow

    call = tensorflow.saved_model.load(str(folder / "savedmodel")).signatures["serving_default"]
    rows = images.permute(0, 2, 3, 1)
    return torch.cat([torch.from_numpy(call(images=tensorflow.constant(row[None].numpy()))["logits"].numpy()) for row in rows])


def by_paper(folder, images, card):
    import sys

    sys.path.insert(0, args.paper)
    from model import VisionTransformer

    shape = card["model"]
    model = VisionTransformer(
        img_size=shape["imageSize"], patch_size=shape["patchSize"], num_classes=shape["numClasses"],
        embed_dim=shape["embedDim"], depth=shape["depth"], num_heads=shape["heads"], mlp_ratio=shape["mlpRatio"],
        num_kv_heads=max(shape["grouping"][0]) + 1, att_scheme={"mha": "mhsa"}.get(card["variant"], card["variant"].replace("-", "_")),
        window_size=300,
    )
    missing, unexpected = model.load_state_dict(load_file(folder / "paper/model.safetensors"), strict=False)
    assert not unexpected and all("cache" in name or "prev" in name for name in missing), (missing, unexpected)
    with torch.no_grad():
        return model.eval()(images)


def card_of(run):
    with safe_open(f"{run}/checkpoints/best/model.safetensors", "pt") as file:
        return json.loads(file.metadata()["gqa"])


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
    for format, compute in (("onnx", by_onnx), ("savedmodel", by_tensorflow)):
        gqa("export", run, "--format", format, "--out", str(folder / format))
        try:
            print(f"    {format}: {(compute(folder, images) - own).abs().max():.1e}")
        except ImportError as error:
            print(f"    {format}: not compared, {error}")
    card = card_of(run)
    if args.paper and card["variant"] in ("mha", "gqa"):
        gqa("export", run, "--format", "paper", "--out", str(folder / "paper"))
        print(f"    the paper's code: {(by_paper(folder, images, card) - own).abs().max():.1e}")
