"""Makes the small checkpoints of this folder and torch's logits for them (expected.json), for test/checkpoint/models.test.ts.

Run: python make.py    (torch, timm, transformers, torchvision, safetensors; versions are noted in expected.json)

Every parameter is random, norms, biases and LayerScale too, so that none can be left out unnoticed. Images are normalised already.
"""
import json
import os
import shutil
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = dict(img_size=8, patch_size=4, embed_dim=24, depth=2, num_heads=4, mlp_ratio=2, num_classes=5)
HF = dict(image_size=8, patch_size=4, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_labels=5)
torch.manual_seed(11)
images = torch.randn(3, 3, 8, 8)
logits = {}


def randomised(model):
    with torch.no_grad():
        for name, value in model.named_parameters():
            near_one = value.dim() == 1 and name.endswith("weight")
            value.copy_(torch.randn_like(value) * (0.2 if near_one else 0.3) + (1 if near_one else 0))
    return model.eval()


def save(name, tensors, compute, config=None):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    save_file({key: value.contiguous() for key, value in tensors.items()}, os.path.join(folder, "model.safetensors"))
    if config is not None:
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
    with torch.no_grad():
        logits[name] = compute(images).flatten().tolist()


def timm_model(name, rename=lambda key: key, **more):
    model = randomised(VisionTransformer(**{**SIZES, **more}))
    save(name, {rename(key): value for key, value in model.state_dict().items()}, model)


timm_model("timm-plain")
timm_model("timm-layer-scale", init_values=1e-5)  # as DINOv2's
timm_model("timm-no-qkv-bias", qkv_bias=False)
timm_model("timm-wrapped", lambda key: "model.backbone._orig_mod." + key)

# DeiT III and BEiT before timm 0.9: the same factors under other names.
old = randomised(VisionTransformer(**SIZES, init_values=1e-5))
save("timm-gamma", {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value for key, value in old.state_dict().items()}, old)

vit = randomised(transformers.ViTForImageClassification(transformers.ViTConfig(**HF, intermediate_size=48)))
temporary = os.path.join(HERE, "temporary")
vit.save_pretrained(temporary)
config = json.load(open(os.path.join(temporary, "config.json")))
assert config["layer_norm_eps"] == 1e-12
from safetensors.torch import load_file
save("hf-vit", load_file(os.path.join(temporary, "model.safetensors")), lambda x: vit(x).logits, config)  # the names that transformers writes
save("hf-vit-newer", {"net." + key: value for key, value in vit.state_dict().items()}, lambda x: vit(x).logits)  # and those it computes with
shutil.rmtree(temporary)

# A small stream makes the eps of the layer norms show: 1e-6 in place of 1e-12 is wrong by more than 1e-3 here.
with torch.no_grad():
    for part in [vit.vit.embeddings.cls_token, vit.vit.embeddings.position_embeddings, *vit.vit.embeddings.patch_embeddings.parameters()]:
        part.mul_(0.003)
save("hf-vit-eps", {key: value for key, value in vit.state_dict().items()}, lambda x: vit(x).logits, config)

dino = randomised(transformers.Dinov2Model(transformers.Dinov2Config(**HF, mlp_ratio=2)))
head = torch.nn.Linear(24, 5)
dino.save_pretrained(temporary)
config = json.load(open(os.path.join(temporary, "config.json")))
tensors = load_file(os.path.join(temporary, "model.safetensors"))
shutil.rmtree(temporary)
tensors = {"dinov2." + key: value for key, value in tensors.items()}
tensors.update({"classifier.weight": head.weight.detach(), "classifier.bias": head.bias.detach()})
save("hf-dinov2", tensors, lambda x: head(dino(x).last_hidden_state[:, 0]), config)

tv = torchvision.models.vision_transformer.VisionTransformer(8, 4, 2, 4, 24, 48, num_classes=5)
save("torchvision", randomised(tv).state_dict(), tv)

# Heads that read the mean of all patches, normalised after it.
avg = randomised(VisionTransformer(**SIZES, global_pool="avg"))
save("timm-avg", avg.state_dict(), avg, {"architecture": "vit_tiny_patch16_224", "num_features": 24, "global_pool": "avg", "model_args": {"embed_dim": 24, "num_heads": 4}})

# Positions of 6 × 6 patches for a model of 2 × 2, as timm resizes them; and a table of sizes, up and down.
large = randomised(VisionTransformer(**{**SIZES, "img_size": 24}))
small = VisionTransformer(**SIZES)
resized = dict(large.state_dict(), pos_embed=resample_abs_pos_embed(large.state_dict()["pos_embed"], [2, 2]))
small.load_state_dict(resized)
save("timm-resized", large.state_dict(), small.eval())
positions = []
for before, after in [(2, 2), (2, 3), (3, 2), (7, 5), (5, 14), (14, 7), (16, 14)]:
    values = torch.randn(1, 1 + before * before, 3)
    positions.append(dict(before=before, after=after, values=values.flatten().tolist(), resized=resample_abs_pos_embed(values, [after, after]).flatten().tolist()))
with open(os.path.join(HERE, "positions.json"), "w") as file:
    json.dump(positions, file)

# In several files, as transformers writes large models.
sharded = randomised(transformers.ViTForImageClassification(transformers.ViTConfig(**HF, intermediate_size=48)))
sharded.save_pretrained(temporary, max_shard_size="16KB")
config = json.load(open(os.path.join(temporary, "config.json")))
with torch.no_grad():
    logits["hf-sharded"] = sharded(images).logits.flatten().tolist()
shutil.rmtree(os.path.join(HERE, "hf-sharded"), ignore_errors=True)
os.rename(temporary, os.path.join(HERE, "hf-sharded"))

versions = {module.__name__: module.__version__ for module in (torch, timm, transformers, torchvision)}
with open(os.path.join(HERE, "expected.json"), "w") as file:
    json.dump({"versions": versions, "images": images.permute(0, 2, 3, 1).flatten().tolist(), "logits": logits}, file)
