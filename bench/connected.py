"""What hangs together by pairs: images of one scene, findings that share an image; standard library only."""

from __future__ import annotations

from typing import Generic, TypeVar

Name = TypeVar("Name", int, str)


class Connected(Generic[Name]):
    """Which of some names or numbers are connected so far; those that were never joined stand alone."""

    def __init__(self) -> None:
        self._earlier: dict[Name, Name] = {}
        self._sizes: dict[Name, int] = {}

    def first(self, at: Name) -> Name:
        """The earliest, in order, that one is connected with; itself where it is alone."""
        path = [at]
        while (at := self._earlier.get(path[-1], path[-1])) != path[-1]:
            path.append(at)
        self._earlier.update(dict.fromkeys(path[:-1], at))  # so that the next way is short
        return at

    def size(self, at: Name) -> int:
        """How many are connected with one, itself included."""
        return self._sizes.get(self.first(at), 1)

    def join(self, one: Name, other: Name) -> None:
        """Connect two, and all that are connected with either."""
        first, second = sorted((self.first(one), self.first(other)))
        if first != second:
            self._sizes[first] = self.size(first) + self.size(second)
            self._earlier[second] = first
