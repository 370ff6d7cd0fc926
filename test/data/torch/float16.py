"""Makes float16.json: a ViT's first steps in float16 under torch's autocast and GradScaler (its defaults), with gradient accumulation, to compare a run of gqa with.

69 images of cifar10-jpeg.zip as an image folder (the first 7 of each class in order of name, of the last class 6), batches of 16, 5 to a step: a step is an epoch.
Run: python test/data/torch/float16.py IMAGES CHECKPOINT (torch 2.15, timm 1.0.31, Pillow 13; IMAGES holds train/<class>/*.jpg, CHECKPOINT is vit_cifar10_timm.safetensors)
"""
import glob
import json
import os
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

BATCH, ACCUM, EPOCHS = 16, 5, 4
images, checkpoint = sys.argv[1:]
classes = sorted(os.listdir(f'{images}/train'))
files = sorted(glob.glob(f'{images}/train/*/*'))
pixels = np.stack([np.array(Image.open(file).convert('RGB')) for file in files])
x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
y = torch.tensor([classes.index(file.split('/')[-2]) for file in files])


def run(clip: float | None) -> dict:
    model = VisionTransformer(img_size=32, patch_size=4, embed_dim=192, depth=4, num_heads=12, num_classes=10).train()
    model.load_state_dict(load_file(checkpoint))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    scaler = torch.amp.GradScaler('cpu')
    left_out, losses = 0, []
    for _ in range(EPOCHS):
        total = 0.0
        for first in range(0, len(x), BATCH):
            with torch.autocast('cpu', dtype=torch.float16):
                logits = model(x[first:first + BATCH]).float()
            loss = torch.nn.functional.cross_entropy(logits, y[first:first + BATCH], reduction='sum')
            total += loss.item()
            scaler.scale(loss / len(x)).backward()
        scaler.unscale_(optimizer)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        left_out += scaler.get_scale() < before
        optimizer.zero_grad()
        losses.append(round(total / len(x), 6))
    return {'clip_grad': clip, 'steps_left_out': left_out, 'train_loss': losses}


pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps([run(None), run(0.5)]) + '\n')
