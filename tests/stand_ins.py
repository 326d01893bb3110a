"""Stand-ins for programs of clusters: they record their calls, and start real local processes."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What every stand-in begins with: it writes down its words, the call ended by the ASCII record
# separator, and each word but the last by the unit separator. bash, since it starts at once.
RECORD = r"""#!/usr/bin/env bash
set -u
here={folder}
(IFS=$'\x1f' && printf '%s\x1e' "${{0##*/}}"$'\x1f'"$*" >>"$here/calls")
flag() {{ for word in "${{words[@]}}"; do [[ $word == --$1=* ]] && echo "${{word#*=}}"; done; }}
words=("$@")
"""


class StandIns:
    """A folder with programs that come first in PATH."""

    def __init__(self, folder: Path, **programs: str):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for name, program in programs.items():
            self.add(name, RECORD.format(folder=folder) + program)

    def add(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments, variables=(), timeout=60, script_root=ROOT, **keywords):
        """Run a launcher as a user would, who has none of its variables set but these."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TPU_", "SLURM_", "KUBE"))}
        return subprocess.run(
            [script_root / "launch" / arguments[0], *map(str, arguments[1:])],
            capture_output=True, text=True, timeout=timeout, check=False,
            env={**kept, "PATH": f"{self.bin}:{os.environ['PATH']}", **dict(variables)},
            **keywords,
        )  # fmt: skip

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        calls = path.read_text().split("\x1e")[:-1] if path.exists() else []
        return [call.split("\x1f") for call in calls]


def small_checkout(folder: Path) -> Path:
    """A repository with nothing but launch/, as it is now: a commit of it is sent in no time."""
    shutil.copytree(ROOT / "launch", folder / "launch")
    git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *words], check=True)
    return folder
