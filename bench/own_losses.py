"""The users' losses as a package: `DIR/losses/mine.py` is `bench.own_losses.mine`; see docs/adr/0001."""

from bench.catalog import folders as _folders

__path__ = [str(folder) for folder in _folders("losses")]
