"""
Checkpoints as users have them, against torch: models of timm and Hugging Face with random weights (norms, biases and LayerScale too) are saved as their owners save them, with their
config.json beside; the logits of `gqa eval` on the test images of an image folder are compared with torch's, each model with the transform of its own images.

    python bench/checkpoints_vs_torch.py FOLDER        FOLDER/{train,test}/<class>/*; needs torch, timm, transformers, safetensors, Pillow
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from timm.models import save_for_hf
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def images(folder):
    classes = sorted(os.listdir(f"{folder}/test"))
    return classes, [f"{folder}/test/{name}/{file}" for name in classes for file in sorted(os.listdir(f"{folder}/test/{name}"))]


def randomised(model):
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "gamma" in name:
                value.copy_(0.1 + 0.5 * torch.rand(value.shape, generator=draw))
            elif value.ndim >= 2 or name.endswith("bias"):
                value.copy_(0.05 * torch.randn(value.shape, generator=draw))
            else:
                value.copy_(1 + 0.1 * torch.randn(value.shape, generator=draw))
    return model.eval()


def of_timm(architecture, sizes, **arguments):
    def make(classes, paths, out):
        model = randomised(timm.create_model(architecture, num_classes=len(classes), **arguments))
        save_for_hf(model, out, safe_serialization=True)
        transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
        return model, torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])

    return architecture, sizes, make


def of_hugging_face(prefix):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def make(classes, paths, out):
        config = ViTConfig(hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768, num_labels=len(classes))
        model = randomised(ViTForImageClassification(config))
        model.save_pretrained(out)
        ViTImageProcessor(size={"height": 224, "width": 224}, image_mean=mean, image_std=std).save_pretrained(out)
        save_file({prefix + name: value.contiguous() for name, value in model.state_dict().items()}, f"{out}/model.safetensors")
        squashed = [numpy.array(Image.open(path).convert("RGB").resize((224, 224), Image.BILINEAR)) for path in paths]
        pixels = torch.from_numpy(numpy.stack(squashed)).permute(0, 3, 1, 2) / 255.0
        return lambda x: model(x).logits, (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    return f"Hugging Face’s ViTForImageClassification behind “{prefix}”", "image_size: 224, patch_size: 16, embed_dim: 192, depth: 4, heads: 3", make


SMALL = "image_size: 224, patch_size: 16, embed_dim: 384, depth: 12, heads: 6"
DINO = "image_size: 518, patch_size: 14, embed_dim: 384, depth: 12, heads: 6"
CASES = [
    of_timm("deit_small_patch16_224", SMALL),
    of_timm("vit_tiny_patch16_224", "image_size: 224, patch_size: 16, embed_dim: 192, depth: 12, heads: 3"),
    of_timm("vit_small_patch14_dinov2", DINO),
    of_hugging_face("module."),
    of_timm("deit_small_distilled_patch16_224", SMALL),
    of_timm("vit_small_patch14_reg4_dinov2", DINO),
]


def compare(folder, work, name, sizes, make):
    classes, paths = images(folder)
    checkpoint = tempfile.mkdtemp(dir=work)
    model, x = make(classes, paths, checkpoint)
    config, logits = f"{checkpoint}/mine.yaml", f"{checkpoint}/logits.safetensors"
    with open(config, "w", encoding="utf8") as file:
        file.write(f"data: {{ name: image-folder, root: {json.dumps(os.path.abspath(folder))} }}\nmodel: {{ size: custom, {sizes}, variant: mha }}\neval: {{ batch_size: 8 }}\n")
    program = ["node", f"{ROOT}/bin/gqa.js", "eval", "--checkpoint", f"{checkpoint}/model.safetensors", "--config", config, "--logits", logits]
    ran = subprocess.run(program, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        told = ran.stderr[ran.stderr.rindex("gqa: ") :].strip()
        print(f"{name}: refused, exit {ran.returncode}, {len(told.splitlines())} lines\n  " + told.replace("\n", "\n  "))
        return
    with torch.no_grad():
        expected = torch.cat([model(part) for part in x.split(8)]).numpy()
    print(f"{name}: largest difference {numpy.abs(load_file(logits)['logits'] - expected).max():.1e} of logits up to {numpy.abs(expected).max():.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        for case in CASES:
            compare(sys.argv[1], work, *case)
