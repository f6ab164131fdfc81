"""The users' metric profiles as a package: `DIR/profiles/mine.py` is `bench.own_profiles.mine`; see docs/adr/0001."""

from bench.catalog import folders as _folders

__path__ = [str(folder) for folder in _folders("profiles")]
