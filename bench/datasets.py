"""The data-set catalogue as a package: `datasets/lisc.py` is `bench.datasets.lisc`; see docs/adr/0001."""

from bench.catalog import folders as _folders

__path__ = [str(folder) for folder in _folders("datasets")]
