"""Asks the Predictor for its held-out samples, and whether its answers are right: what the role does after each run."""

import json
import sys
from urllib.request import Request, urlopen

ADDRESS = "http://127.0.0.1:8480"
samples = json.load(urlopen(f"{ADDRESS}/samples", timeout=30))["samples"]
body = json.dumps({"instances": [sample["input"] for sample in samples]}).encode()
answer = json.load(urlopen(Request(f"{ADDRESS}/predictions", body, {"Content-Type": "application/json"}), timeout=30))
right = sum(
    sample["truth"]["label"] == one["label"] for sample, one in zip(samples, answer["predictions"], strict=True)
)
sys.exit(answer["model_digest"] != f"sha256:{sys.argv[1]}" or right < 0.8 * len(samples))
