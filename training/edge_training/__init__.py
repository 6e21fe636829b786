"""What runs on a device for a training and for its model's predictions."""

__version__ = "0.1.0"
