"""The command line: parse, call, print. Exit code 0 done, 1 a check failed, 2 wrong usage or input.

torch takes seconds to load, so each command imports what it needs when it runs and ``--help`` answers at once.
"""

from logitcache.cli.entry import cli, main

__all__ = ["cli", "main"]
