"""The lab: a rack in a box. Simulators of what cannot be here, reached only over the protocols they speak."""
