"""Of which commit are the numbers? Imports nothing, so that no framework is held by asking."""

import os
import subprocess
from pathlib import Path


def described() -> str:
    """`git describe` of this checkout; of a copy without one the variable COMMIT, or "unknown"."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
        ).stdout.strip()  # fmt: skip
    except OSError:  # no git
        answer = ""
    return answer or os.environ.get("COMMIT", "unknown")
