"""The examples of docs/extend.md: short, and each of them works as it is printed."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import measures, presets
from eqssl_jax.experiment.assess import assess
from eqssl_jax.experiment.run import run
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import setup
from eqssl_jax.training.workdir import read_config

TEXT = (Path(__file__).parent.parent / "docs" / "extend.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", TEXT, flags=re.DOTALL))


@pytest.fixture
def config(tmp_path, monkeypatch) -> ConfigDict:
    """A small run in which everything comes from the examples, beside them on disk."""
    for name, code in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    config = presets.factored("shapes")
    config.model.encoder, config.model.projector = "my_encoder:Tiny", (8, 4)
    config.recipe.name, config.recipe.options = "my_recipe:recipe", ConfigDict({"most": 0.3})
    config.data.name, config.data.options = "my_data:stripes", ConfigDict({"count": 128})
    config.roles = ConfigDict({"crop": "invariant", "shift": "invariant"})
    config.role_weights, config.sharing = ConfigDict(), ConfigDict()
    config.objectives.mine = ConfigDict({"method": "my_method:spread", "weight": 0.5})
    config.evaluation.measures = ("my_measure:CARD",)
    config.train.batch_size, config.train.steps = 8, 3
    return config


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name):
    lines = [line for line in EXAMPLES[name].splitlines() if line.strip()]
    assert 0 < len(lines) <= 15
    assert f"{name}:" in TEXT  # how a config names it


def test_a_config_takes_all_of_them(config):
    built = setup(config.lock())
    assert list(built.method.objectives) == ["info_nce", "mine"]
    assert built.method.objectives["mine"][0] == 0.5
    assert set(built.recipe.identity) == {"crop", "shift"}
    assert built.dataset.image_shape == (32, 32, 3) and built.split.size < 64
    assert built.dimension() == 4


def test_the_measure_counts_shared_neighbours(config):
    card = measures.cards(config.evaluation.measures)[-1]
    bank, queries = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[:2]
    flipped = np.roll(queries, 2, axis=1)  # nearest to other rows
    for embedded, expected in ((queries, 1.0), (flipped, 0.0)):
        rows = {"train": SimpleNamespace(features=bank, embeddings=bank),
                "test": SimpleNamespace(features=queries, embeddings=embedded)}  # fmt: skip
        settings = SimpleNamespace(overlap_k=1)
        seen = SimpleNamespace(settings=settings, rows=rows.get, held_out="test")
        assert card.measure(seen) == {"topk_overlap": expected}


@pytest.mark.slow
def test_a_run_of_all_of_them_is_trained_and_evaluated(config, tmp_path):
    run(config.lock(), tmp_path / "run")
    rows = [row for row in read_records(tmp_path / "run") if "mine" in row]
    assert rows and np.isfinite([row["mine"] for row in rows]).all()
    stored = read_config(tmp_path / "run").objectives.to_dict()
    assert set(stored) == {"info_nce", "mine"} and stored["mine"]["method"] == "my_method:spread"
    [path] = assess(
        tmp_path / "run", options={"preset": "quick", "ladder_images": 0, "knn_neighbours": 5}
    )
    trained = json.loads(path.read_text())["encoders"]["trained"]
    assert 0 <= trained["knn"]["value"] <= 1
    assert 0 < trained["topk_overlap"]["value"] <= 1
