"""Run the tutorials and store their outputs: `python docs/notebooks.py [NAME …]`.

Each runs in a folder of its own, which is removed; no output holds a path of this machine.
"""

import itertools
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent / "tutorials"
# Of IPython, when `!` starts a command beside JAX: it says nothing about the page.
FORK = re.compile(r".*RuntimeWarning: os\.fork\(\) was called.*\n.*os\.forkpty\(\)\n")


def without_paths(value: object, folder: str) -> object:
    """Outputs, in which the folder of the run is the current one."""
    if isinstance(value, str):
        return value.replace(f"{folder}/", "").replace(folder, ".")
    if isinstance(value, list):
        return [without_paths(item, folder) for item in value]
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k != "execution"}
        return nbformat.from_dict({k: without_paths(v, folder) for k, v in kept.items()})
    return value


def plain_streams(outputs: list) -> list:
    """Outputs whose neighbouring streams are one, as a terminal shows them at the end."""
    kept: list = []
    for output in outputs:
        if output["output_type"] == "stream" and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output["text"]
        else:
            kept.append(output)
    for output in kept:
        if output["output_type"] == "stream":
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output["text"]).replace("\r\n", "\n")
            text = FORK.sub("", text)
            rows = [line.split("\r")[-1].rstrip() for line in text.split("\n")]
            last = [row for row, after in itertools.pairwise([*rows, None]) if row != after]
            output["text"] = "\n".join(last).strip("\n") + "\n"
    return [
        output for output in kept if output["output_type"] != "stream" or output["text"].strip()
    ]


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of a run in an empty folder.

    Raises:
      nbclient.exceptions.CellExecutionError: where a cell raises.
    """
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(book, timeout=3600, kernel_name="python3", resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            outputs = [without_paths(output, folder) for output in cell.outputs]
            cell.outputs = plain_streams(outputs)
    return book


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            began, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
            nbformat.write(executed(path), path)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{path.stem}: {cpu:.0f} CPU s, {time.time() - began:.0f} s", flush=True)
