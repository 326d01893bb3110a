"""The model card of an exported encoder: what it is, what it does, and how to load it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from eqssl_jax import __version__, methods, tabular
from eqssl_jax.experiment.stored import read_result
from eqssl_jax.training.environment import read_environment
from eqssl_jax.training.stored import StoredRun


def model_card(
    run: StoredRun,
    workdir: Path,
    *,
    name: str,
    licence: str,
    files: Mapping[str, str],
    torch_code: str,
) -> str:
    """README.md of the folder, in the form that the Hugging Face Hub reads.

    Args:
      run: what was exported.
      workdir: where its evaluation, environment and config lie.
      name: of the model.
      licence: of the weights, an identifier of the Hub ("apache-2.0", "cc-by-4.0"); "": not said.
      files: what lies beside the card: file -> what it is.
      torch_code: Python that loads the weights in PyTorch; "" if no module there has them.
    """
    about, model, step = run.trained_on, run.config.model, int(run.state.step)
    torch = "The weights are under the names of that module.\n\n" + _code(torch_code, "python")
    if not torch_code:
        torch = (
            f"Neither torchvision nor timm has a module for {model.encoder}: the names in "
            f"`encoder.safetensors` follow torchvision's, the module is yours to write."
        )
    parts = {
        "Load it in JAX": _code(jax_code(about.input_shape), "python"),
        "Load it in PyTorch": torch,
        "Files": "\n".join(f"- `{file}`: {content}" for file, content in files.items()),
        "Data": _data(run),
        "Training": _training(run),
        "Roles": _roles(run),
        "Numbers": _numbers(workdir, step),
        "Licence": _licence(licence, about.name),
        "Reproduce it": _reproduce(workdir),
    }
    head = (
        f"# {name}\n\nThe encoder of step {step} of a run of eqssl_jax {__version__}, trained "
        f"without labels: {model.encoder} on {about.name}. It takes images of shape "
        f"{tuple(about.input_shape)} with values in [0, 1] and gives features and, after the "
        f"projector, embeddings."
    )
    sections = [f"## {title}\n\n{text}" for title, text in parts.items()]
    return "\n\n".join([_front(run, licence), head, *sections]) + "\n"


def jax_code(shape: tuple[int, ...]) -> str:
    """Python that runs the exported program with JAX alone."""
    return "\n".join(
        (
            "import pathlib, jax.export, numpy as np",
            'program = jax.export.deserialize(pathlib.Path("encoder.jax").read_bytes())',
            f"images = np.zeros((5, {', '.join(map(str, shape))}), np.float32)  # in [0, 1]",
            "features, embeddings = program.call(images)",
        )
    )


def _front(run: StoredRun, licence: str) -> str:
    """What the Hub indexes; JSON strings are YAML."""
    tags = ["eqssl_jax", "self-supervised", "equivariance", run.config.model.encoder]
    lines = [f"license: {json.dumps(licence)}"] if licence else []
    lines += ["library_name: jax", "pipeline_tag: image-feature-extraction"]
    lines += ["tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"


def _data(run: StoredRun) -> str:
    about = run.trained_on
    classes = ", ".join(about.classes[:10]) + (", …" if len(about.classes) > 10 else "")
    facts = {
        "Data set": f"{about.name}, trained on the split {run.config.data.split!r}",
        "Images": ", ".join(
            f"{name} {split['count']}" for name, split in about.splits.items() if "count" in split
        ),
        "Classes, of which training sees nothing": f"{len(about.classes)} ({classes})"
        if about.classes
        else "",
        "Mean of each channel": ", ".join(f"{value:.8g}" for value in about.mean),
        "Standard deviation of each channel": ", ".join(f"{value:.8g}" for value in about.std),
    }
    return _list(facts)


def _training(run: StoredRun) -> str:
    config = run.config
    objectives = methods.build(config).objectives
    optimizer = config.optimizer
    facts = {
        "Encoder": f"{config.model.encoder}, projector {tuple(config.model.projector)}, "
        f"{config.model.compute_dtype}",
        "Recipe": config.recipe.name,
        "Objectives": ", ".join(f"{weight:g} × {name}" for name, (weight, _) in objectives.items()),
        "Optimiser": f"{optimizer.name}, rate {optimizer.learning_rate:g} ({optimizer.schedule}), "
        f"weight decay {optimizer.weight_decay:g}",
        "Steps": f"{int(run.state.step)} of {config.train.batch_size} images, seed {config.seed}",
    }
    return _list(facts) + '\n\nEvery setting is in `config.json`, under "config".'


def _roles(run: StoredRun) -> str:
    recipe = methods.build_recipe(run.config.recipe.name, run.config.recipe.options)
    lines = ["| Transformation | Role | The contrast views see |", "|---|---|---|"]
    seen = {"independent": "independent draws", "shared": "one draw for both", "fixed": "nothing"}
    for part, role in methods.resolve(run.config, recipe).items():
        lines.append(f"| {part} | {role.role} | {seen.get(role.sharing, role.sharing)} |")
    return "\n".join(lines)


def _numbers(workdir: Path, step: int) -> str:
    path = workdir / "eval" / f"{step}.json"
    if not path.exists():
        return (
            f"Step {step} was not evaluated. `python -m eqssl_jax.eval --workdir=… --step={step}` "
            f"measures it beside an untrained encoder and the pixels; exporting again adds it here."
        )
    table = tabular.comparison_table({"trained": read_result(path)})
    sentence = (
        "One training: ± is a spread over probes or draws where there is one, not over trainings."
    )
    return f"{tabular.as_markdown(table.sheet()).rstrip()}\n\n{sentence}"


def _licence(licence: str, data: str) -> str:
    code = "The code of eqssl_jax is under Apache-2.0."
    if not licence:
        return f"{code} No licence of these weights was given; that of {data} may bind them."
    return f"These weights: {licence}. {code} The terms of {data} are its publishers'."


def _reproduce(workdir: Path) -> str:
    starts = read_environment(workdir)
    if not starts:
        return "No start of the run was recorded; `config.json` holds all settings."
    start = starts[-1]
    commit = start.get("commit") or {}
    facts = {
        "Commit": str(commit.get("hash", "")) + (", changed" if commit.get("changed") else ""),
        "Versions": ", ".join(f"{k} {v}" for k, v in (start.get("packages") or {}).items() if v),
        "Trained on": str((start.get("device") or {}).get("kind", "")),
        "Exported with": f"eqssl_jax {__version__}, jax {jax.__version__}",
    }
    command = start.get("command") or 'the settings under "config" of config.json'
    return f"{_code(command)}\n\n{_list(facts)}"


def _list(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)
