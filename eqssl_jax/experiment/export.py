"""A folder that holds an encoder for people who do not have this package; and the Hub."""

import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from eqssl_jax import __version__, storage
from eqssl_jax.config import plain
from eqssl_jax.encoders import program, to_torch_names
from eqssl_jax.encoders.naming import torch_code
from eqssl_jax.encoders.vit import ViTSettings
from eqssl_jax.experiment.card import model_card
from eqssl_jax.training.setup import build_network
from eqssl_jax.training.stored import StoredRun, open_run

WEIGHTS, CARD, ONNX = "encoder.safetensors", "README.md", "encoder.onnx"


def export(
    workdir: Path,
    out: Path,
    *,
    step: int | str = "latest",
    name: str = "",
    licence: str = "",
    onnx: bool = False,
) -> list[Path]:
    """Write the encoder of a run to a new folder; its files.

    | file                  | content                                                             |
    |-----------------------|---------------------------------------------------------------------|
    | `encoder.safetensors` | its weights under torchvision's or timm's names, without projector  |
    | `encoder.jax`         | images [b, H, W, C] in [0, 1] to (features, embeddings), for cpu,   |
    |                       | cuda and tpu; normalisation and weights inside                      |
    | `encoder.onnx`        | the same, for ONNX Runtime (with `onnx`)                            |
    | `config.json`         | sizes, mean, std, classes, and every setting of the training        |
    | `README.md`           | the model card                                                      |

    The folder appears when all of it is written.

    Raises:
      ValueError: if the folder exists and is not empty, and as `open_run` and `write_onnx`.
      OSError: as `open_run`, and if the folder cannot be written.
    """
    check_folder(out)
    with storage.writing(out):
        storage.check_out(out)
    run = open_run(workdir, step)
    name = name or workdir.resolve().name
    unfinished = storage.unfinished(out)
    try:
        with storage.writing(out):
            storage.start_unfinished(unfinished)
            _write(run, workdir, unfinished, name, licence, onnx)
            (unfinished / storage.MARK).unlink()
            if not storage.is_remote(out) and out.exists():
                out.rmdir()  # empty, or somebody wrote there meanwhile
            storage.deliver(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return sorted(out.iterdir())


def check_folder(out: Path) -> None:
    """Refuse a place where something lies already.

    Raises:
      ValueError: for a file, and a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        fault = "holds files" if out.is_dir() else "is a file"
        raise ValueError(
            f"--out is {out}, which {fault}: nothing is replaced. Give a new folder, or remove it."
        )


def _write(
    run: StoredRun, workdir: Path, folder: Path, name: str, licence: str, onnx: bool
) -> None:
    about, model = run.trained_on, run.config.model
    # One program for all platforms: convolutions as XLA computes them everywhere.
    network = build_network(run.config, about.mean, about.std, conv="xla")
    params, stats = run.state.params["network"], run.state.batch_stats
    encode = functools.partial(network.encode, params, stats)
    files = {
        WEIGHTS: "the weights, without the projector",
        program.FILE: "a program of `jax.export` for cpu, cuda and tpu: images to features and "
        "embeddings, normalisation inside; it needs JAX alone",
    }
    encoder = {"params": params["encoder"], "batch_stats": stats.get("encoder", {})}
    save_file(to_torch_names(encoder, steps=int(run.state.step)), folder / WEIGHTS)
    (folder / program.FILE).write_bytes(program.program(encode, about.input_shape))
    if onnx:
        program.write_onnx(folder / ONNX, encode, about.input_shape)
        files[ONNX] = "the same for ONNX Runtime"
        if (folder / (ONNX + ".data")).exists():  # where it is large
            files[ONNX + ".data"] = f"the weights of {ONNX}, to be kept beside it"
    files[program.DESCRIPTION] = "sizes, mean, std, classes, and every setting of the training"
    described = _description(run, name, encode)
    (folder / program.DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")
    code = ""
    if len(about.input_shape) == 3:
        code = torch_code(
            model.encoder,
            model.stem,
            ViTSettings(**model.vit),
            shape=about.input_shape,
            mean=about.mean,
            std=about.std,
        )
    card = model_card(run, workdir, name=name, licence=licence, files=files, torch_code=code)
    (folder / CARD).write_text(card, encoding="utf-8")
    for path in folder.iterdir():  # some libraries write for the owner alone
        path.chmod((folder / CARD).stat().st_mode)


def _description(
    run: StoredRun, name: str, encode: Callable[..., tuple[jax.Array, jax.Array]]
) -> dict[str, Any]:
    """config.json: what `load` reads, and all that there is to know of the training."""
    about = run.trained_on
    images = jax.ShapeDtypeStruct((1, *about.input_shape), np.float32)
    features, embeddings = jax.eval_shape(encode, images)
    return {
        "library": "eqssl_jax",
        "version": __version__,
        "name": name,
        "encoder": run.config.model.encoder,
        "step": int(run.state.step),
        "image_shape": about.input_shape,
        "mean": about.mean,
        "std": about.std,
        "classes": about.classes,
        "features": features.shape[1],
        "embedding": embeddings.shape[1],
        "config": plain(run.config),
    }


_NAME = r"[A-Za-z0-9][\w.-]*"


def check_repository(repository: str) -> None:
    """Refuse what cannot be pushed to, before anything is exported.

    Raises:
      ValueError: if the name is not USER/NAME, or huggingface_hub is not installed.
    """
    if not re.fullmatch(f"{_NAME}/{_NAME}", repository):
        raise ValueError(
            f"--push is {repository!r}, but a repository of the Hub is written USER/NAME: letters, "
            f"digits, '.', '_' and '-'."
        )
    _hub()


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload the files of a folder to a model repository, made if there is none; its address.

    Signing in is huggingface_hub's: `hf auth login`, or the variable HF_TOKEN. HF_ENDPOINT names
    another server than huggingface.co.

    Raises:
      ValueError: as `check_repository`, and if the Hub refuses.
      OSError: if it cannot be reached.
    """
    check_repository(repository)
    hub = _hub().HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
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


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f"--push needs huggingface_hub, which cannot be imported ({error}): pip install "
            f"eqssl_jax[hub], or leave --push out and upload the folder yourself."
        ) from None
    return huggingface_hub
