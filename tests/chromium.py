"""Finds the Chromium that the browser tests drive; `scripts/chromium` decides which, as in the Makefile."""

import functools
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "chromium"


@functools.cache
def chromium_path() -> Path:
    """Path of a usable Chromium. Raises RuntimeError saying how to get one; never a reason to skip."""
    found = subprocess.run(
        [SCRIPT], capture_output=True, text=True, check=False, env={**os.environ, "VENV": sys.prefix}
    )
    if found.returncode:
        raise RuntimeError(found.stderr.strip())
    return Path(found.stdout.strip())
