"""`python -m hostler` is the `hostler` command. It must never do anything else."""

from __future__ import annotations

from hostler.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
