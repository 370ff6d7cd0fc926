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
from timm.models.vision_transformer import checkpoint_filter_fn
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


def of_timm(architecture, sizes, resized=None, num_classes=None, **arguments):
    def make(classes, paths, out):
        model = randomised(timm.create_model(architecture, num_classes=num_classes or len(classes), **arguments))
        save_for_hf(model, out, safe_serialization=True, model_args=arguments)
        data = resolve_data_config({}, model=model)
        if resized is not None:  # timm resizes the positions of the checkpoint for a model of another size
            other = timm.create_model(architecture, num_classes=len(classes), img_size=resized, **arguments).eval()
            other.load_state_dict(checkpoint_filter_fn(model.state_dict(), other))
            model, data = other, {**data, "input_size": (3, resized, resized)}
        transform = create_transform(**data, is_training=False)
        return model, torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])

    more = [f"{key}={value}" for key, value in arguments.items()]
    more += [f"at {resized} pixels"] if resized else []
    more += [f"{num_classes} classes"] if num_classes else []
    return f"{architecture} ({', '.join(more)})" if more else architecture, sizes, make


def of_hugging_face(prefix):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def make(classes, paths, out):
        config = ViTConfig(hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768, num_labels=len(classes))
        model = randomised(ViTForImageClassification(config))
        model.save_pretrained(out, **({} if prefix is not None else {"max_shard_size": "2MB"}))
        ViTImageProcessor(size={"height": 224, "width": 224}, image_mean=mean, image_std=std).save_pretrained(out)
        if prefix is not None:
            save_file({prefix + name: value.contiguous() for name, value in model.state_dict().items()}, f"{out}/model.safetensors")
        squashed = [numpy.array(Image.open(path).convert("RGB").resize((224, 224), Image.BILINEAR)) for path in paths]
        pixels = torch.from_numpy(numpy.stack(squashed)).permute(0, 3, 1, 2) / 255.0
        return lambda x: model(x).logits, (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    how = "in several files" if prefix is None else f"behind “{prefix}”"
    return f"Hugging Face’s ViTForImageClassification {how}", READ_OFF if prefix is None else "image_size: 224, patch_size: 16, embed_dim: 192, depth: 4, heads: 3", make


SIZES = {
    "tiny": "image_size: 224, patch_size: 16, embed_dim: 192, depth: 12, heads: 3",
    "dino": "image_size: 518, patch_size: 14, embed_dim: 384, depth: 12, heads: 6",
}
READ_OFF = None  # model.size is left out
CASES = [
    of_timm("deit_small_patch16_224", READ_OFF),
    of_timm("vit_tiny_patch16_224", SIZES["tiny"]),
    of_timm("vit_small_patch14_dinov2", SIZES["dino"]),
    of_timm("vit_small_patch8_224", READ_OFF),
    of_timm("vit_small_patch32_384", READ_OFF),
    of_timm("vit_base_patch32_224", READ_OFF, num_classes=21843),
    of_timm("vit_large_patch16_224", READ_OFF),
    of_timm("vit_small_patch16_224", READ_OFF, global_pool="avg"),
    of_timm("vit_small_patch16_224", READ_OFF, qkv_bias=False),
    of_timm("vit_small_patch16_384", "image_size: 224", resized=224),
    of_timm("vit_small_patch16_224", "image_size: 384", resized=384),
    of_hugging_face("module."),
    of_hugging_face(None),
    of_timm("deit_small_distilled_patch16_224", READ_OFF),
    of_timm("vit_small_patch14_reg4_dinov2", READ_OFF),
    of_timm("vit_base_patch16_siglip_224", READ_OFF),
    of_timm("vit_base_patch16_clip_224", READ_OFF),
    of_timm("vit_little_patch16_reg4_gap_256", READ_OFF),
    of_timm("beit_base_patch16_224", READ_OFF),
    of_timm("eva02_tiny_patch14_224", READ_OFF),
]


def compare(folder, work, name, sizes, make):
    classes, paths = images(folder)
    checkpoint = tempfile.mkdtemp(dir=work)
    model, x = make(classes, paths, checkpoint)
    config, logits = f"{checkpoint}/mine.yaml", f"{checkpoint}/logits.safetensors"
    keys = "" if sizes is None else f"size: custom, {sizes}, " if "depth" in sizes else f"{sizes}, "
    with open(config, "w", encoding="utf8") as file:
        file.write(f"data: {{ name: image-folder, root: {json.dumps(os.path.abspath(folder))} }}\nmodel: {{ {keys}variant: mha }}\neval: {{ batch_size: 8 }}\n")
    program = ["node", f"{ROOT}/bin/gqa.js", "eval", "--checkpoint", checkpoint, "--config", config, "--logits", logits]
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
