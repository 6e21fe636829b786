"""edge_training is a package of the images, installed nowhere else: the tests find it in the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "training"))

# As in a worker, and before torch reads it: threads of one training on few cores mostly wait for each other, at work.
os.environ["OMP_NUM_THREADS"] = "1"

from edge_training import lean_torch

# As in a worker; besides, torch._dynamo does not load in one process with ansible-core, which replaces sys.intern.
lean_torch.without_compiler()
