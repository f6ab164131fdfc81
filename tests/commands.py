"""The program as its entry point calls it, inside this process."""

from __future__ import annotations

import contextlib
import io
import sys
from unittest import mock

from bench import cli


def call(*words: object) -> tuple[int, str, str]:
    """Run a command; give its exit code, what it printed, and what it complained."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = mock.patch.object(sys, "argv", ["bench", *map(str, words)])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()
