"""Exported folders on the Hugging Face Hub."""

import os
import re
from pathlib import Path
from typing import Any

NAME = r"[A-Za-z0-9][\w.-]*"


def check(repository: str) -> None:
    """Refuse what cannot be pushed to, before anything is exported.

    Raises:
      ValueError: if the name is not USER/NAME, or huggingface_hub is not installed.
    """
    if not re.fullmatch(f"{NAME}/{NAME}", repository):
        raise ValueError(
            f"--push is {repository!r}, but a repository of the Hub is written USER/NAME: letters, "
            f"digits, '.', '_' and '-'."
        )
    _library()


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload the files of a folder to a model repository, made if there is none; its address.

    Signing in is huggingface_hub's: `hf auth login`, or the variable HF_TOKEN. HF_ENDPOINT names
    another server than huggingface.co.

    Raises:
      ValueError: as `check`, and if the Hub refuses.
      OSError: if it cannot be reached.
    """
    check(repository)
    library = _library()
    hub = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"Encoder {folder.name}"
        )
    except Exception as error:  # of HTTP libraries that change with its version
        text = " ".join(str(error).split())[:300]
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(
            f"{folder} is written, but {repository} was not pushed to {hub.endpoint}: "
            f"{type(error).__name__}: {text}. Sign in (hf auth login, or HF_TOKEN) with a token "
            f"that may write there, and push again: hf upload {repository} {folder}."
        ) from error
    return f"{hub.endpoint}/{repository}"


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f"--push needs huggingface_hub, which cannot be imported ({error}): pip install "
            f"eqssl_jax[hub], or leave --push out and upload the folder yourself."
        ) from None
    return huggingface_hub
