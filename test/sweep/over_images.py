"""Makes over-images.json: right answers of two methods by two seeds, and scipy's paired bootstrap over images.

python test/sweep/over_images.py > test/sweep/over-images.json   (scipy 1.17, numpy 2.4)
"""
import json

import numpy as np
from scipy.stats import bootstrap

rng = np.random.default_rng(5)
difficulty = rng.normal(size=400)
right = {m: [(difficulty + shift + 0.6 * rng.normal(size=400) < 0.8).astype(int).tolist() for _ in range(2)] for m, shift in (("one", -0.1), ("other", 0.1))}
each = (np.array(right["one"]) - np.array(right["other"])).mean(axis=0)
found = bootstrap((each,), np.mean, n_resamples=50000, method="percentile", rng=np.random.default_rng(6)).confidence_interval
print(json.dumps({**right, "mean": each.mean(), "low": found.low, "high": found.high}))
