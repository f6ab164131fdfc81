"""The architecture catalogue as a package: `architectures/unet.py` is `bench.architectures.unet`; see docs/adr/0001."""

from bench.catalog import folders as _folders

__path__ = [str(folder) for folder in _folders("architectures")]
