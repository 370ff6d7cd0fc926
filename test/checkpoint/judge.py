"""What the Python library says of the files that mutations.js wrote: python judge.py FOLDER SEED > verdicts.json"""
import glob
import json
import sys

import safetensors
from safetensors import safe_open

verdicts = ""
for file in sorted(glob.glob(f"{sys.argv[1]}/*.safetensors")):
    try:
        with safe_open(file, "numpy") as opened:
            list(opened.keys())
        verdicts += "1"
    except Exception:
        verdicts += "0"
print(json.dumps({"safetensors": safetensors.__version__, "seed": int(sys.argv[2]), "verdicts": verdicts}))
