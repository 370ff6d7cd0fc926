"""One side of step-vs-torch.mjs: a ViT trained or evaluated by PyTorch on random images, a line of JSON asked on stdin and one answered on stdout.

First line: {"peer": "paper" | "timm", "paper": folder of the paper's code, "scheme", "heads", "kvHeads", "embedDim", "depth", "imageSize", "patchSize", "classes", "batch",
"lr", "weightDecay", "clip": norm or null, "ema": decay or null, "seed", "precision": "bfloat16" for autocast, "compile": through torch.compile, "device": "cuda" for a GPU}. Then {"train": steps} or {"evaluate": batches}, answered by {"ms": of one}; {"memory": true} by {"peakMb"};
{"product": side} by {"gflops"} of a square float32 matrix product.
"""
import json
import resource
import sys
import time

import torch

answers = sys.stdout
sys.stdout = sys.stderr  # the paper's code prints


def build(ask):
    if ask["peer"] == "timm":
        from timm.models.vision_transformer import VisionTransformer

        return VisionTransformer(
            img_size=ask["imageSize"], patch_size=ask["patchSize"], num_classes=ask["classes"],
            embed_dim=ask["embedDim"], depth=ask["depth"], num_heads=ask["heads"],
        )
    sys.path.insert(0, ask["paper"])
    from model import VisionTransformer

    return VisionTransformer(
        img_size=ask["imageSize"], patch_size=ask["patchSize"], num_classes=ask["classes"], embed_dim=ask["embedDim"],
        depth=ask["depth"], num_heads=ask["heads"], num_kv_heads=ask["kvHeads"], att_scheme=ask["scheme"], window_size=300,
    )


def main():
    ask = json.loads(sys.stdin.readline())
    torch.manual_seed(ask["seed"])
    device = ask.get("device", "cpu")
    model = build(ask).to(device)
    if ask.get("compile"):
        model = torch.compile(model)
    half = ask.get("precision") == "bfloat16"
    side = ask["imageSize"]
    images = (torch.rand(ask["batch"], 3, side, side) * 2 - 1).to(device)
    labels = torch.randint(0, ask["classes"], (ask["batch"],)).to(device)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as TensorFlow there
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=ask["lr"], weight_decay=ask["weightDecay"])
    ema = None
    if ask["ema"] is not None:
        from timm.utils import ModelEmaV3

        ema = ModelEmaV3(model, decay=ask["ema"])

    def train():
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if ask["clip"] is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), ask["clip"])
        optimizer.step()
        if ema is not None:
            ema.update(model)

    @torch.inference_mode()
    def evaluate():
        with torch.autocast(device, torch.bfloat16, enabled=half):
            model(images)

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def reply(what):
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    reply({"torch": torch.__version__, "threads": torch.get_num_threads(), "parameters": sum(p.numel() for p in model.parameters())})
    for line in sys.stdin:
        ask_now = json.loads(line)
        if "memory" in ask_now:
            reply({"peakMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3})
            continue
        if "product" in ask_now:
            side = ask_now["product"]
            a, b = torch.rand(side, side), torch.rand(side, side)
            times = []
            for _ in range(6):
                started = time.perf_counter()
                torch.mm(a, b)
                times.append(time.perf_counter() - started)
            reply({"gflops": 2 * side**3 / min(times) / 1e9})
            continue
        step, count = (train, ask_now["train"]) if "train" in ask_now else (evaluate, ask_now["evaluate"])
        model.train(step is train)
        wait()
        started = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        reply({"ms": (time.perf_counter() - started) * 1000 / count})


main()
