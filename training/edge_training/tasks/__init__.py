"""The tasks that ship with the worker, by short name."""
