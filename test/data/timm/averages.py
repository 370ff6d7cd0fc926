"""Makes averages.json: what timm's ModelEmaV3 makes of parameters that move, called as timm's train.py calls it (update with the number of steps done).

Run: python test/data/timm/averages.py (timm 1.0.31, torch 2.15)
"""
import json
import pathlib

import torch
from timm.utils import ModelEmaV3

STEPS = 12


def walk(step: int) -> list[float]:
    """The parameters after a step: nothing regular, and exact in float32."""
    return [((step * 37 + place * 11) % 64 - 32) / 16 for place in range(4)]


def case(decay: float, warmup: bool) -> dict:
    model = torch.nn.Linear(4, 1, bias=False)
    averages = []
    with torch.no_grad():
        model.weight.copy_(torch.tensor([walk(0)]))
        ema = ModelEmaV3(model, decay=decay, use_warmup=warmup)
        for step in range(1, STEPS + 1):
            model.weight.copy_(torch.tensor([walk(step)]))
            ema.update(model, step=step if warmup else None)
            averages.append(ema.module.weight[0].tolist())
    decays = [ema.get_decay(step if warmup else None) for step in (*range(1, STEPS + 1), 1000, 100000, 10000000)]
    return {'decay': decay, 'warmup': warmup, 'decays': decays, 'averages': averages}


found = {'walk': [walk(step) for step in range(STEPS + 1)], 'cases': [case(decay, warmup) for decay in (0.9998, 0.75) for warmup in (True, False)]}
pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps(found) + '\n')
