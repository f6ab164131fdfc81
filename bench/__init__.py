"""A benchmark of segmentation architectures across microscopy data sets."""

__version__ = "0.1.0"
