"""seq-JEPA: from a sequence of views and what changed between them, predict the next view."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives, views
from eqssl_jax.methods.card import DRAWS, TARGET, WIDEST, Addition, Card, Context, widths
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant import seqjepa
from eqssl_jax.objectives.equivariant.layers import first_weight
from eqssl_jax.settings import whole
from eqssl_jax.views import ViewSpec


def changes(params: PyTree) -> Float[Array, "n l k"]:
    """`parameter_differences` from each of L + 1 views to the next."""
    count = jax.tree.leaves(params)[0].shape[0]
    steps = [
        objectives.parameter_differences(jax.tree.map(lambda leaf, i=i: leaf[i : i + 2], params))
        for i in range(count - 1)
    ]
    return jnp.stack(steps, axis=1)


def seqjepa_loss(values: ConfigDict, name: str) -> Objective:
    """1 − mean cos of the prediction and the target network's features of the last view.

    Tokens are [feature; code of the change to the next view] of the L observed views; a transformer
    aggregates them, and a predictor reads the aggregate and the code of the last change
    (`objectives.equivariant.seqjepa`). Departures: changes are `parameter_differences` (of
    rotations the quaternion of R₂R₁ᵀ, of images all numbers of the draw, not normalised over the
    views), the target network averages the statistics of its own BatchNorm, its momentum rises by
    step rather than by epoch, and the transformer has no dropout (.1 there). Their Adam has no
    decay whatever the flags say, and their flag of a cosine schedule has no effect after warm-up.
    """
    aggregate = encoders.aggregator(values.layers, values.heads)

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        keys = jax.random.split(key, 3)
        width, count = seen.features.shape[-1], jax.eval_shape(changes, seen.params).shape[-1]
        if (width + values.code) % values.heads:
            raise ValueError(
                f"config.objectives.{name}: {width} features and a code of {values.code} numbers "
                f"do not divide into {values.heads} heads of attention; choose another code."
            )
        return {
            "action": first_weight(keys[0], values.code, count),
            "aggregate": aggregate.init(keys[1], width + values.code),
            "predict": _predictor(values, width).init(keys[2], width + 2 * values.code),
        }

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        if seen.target_features is None:
            raise ValueError("seq-JEPA needs the target network's features, and there are none.")
        relative = changes(seen.params)  # [N, L, K]
        codes = seqjepa.action_codes(relative, head["action"])
        tokens = jnp.concatenate([jnp.swapaxes(seen.features, 0, 1), codes], axis=-1)
        aggregated = aggregate.apply(head["aggregate"], tokens)
        last_change = seqjepa.predictor_code(relative[:, -1], head["action"])
        predict = _predictor(values, seen.features.shape[-1])
        predicted = predict.apply(
            head["predict"], jnp.concatenate([aggregated, last_change], axis=-1)
        )
        goal = jax.lax.stop_gradient(seen.target_features[-1])
        return seqjepa.loss(predicted, goal), {}

    return Objective(name, loss, init)


def _predictor(values: ConfigDict, width: int) -> encoders.Head:
    return encoders.mlp((*values.hidden, width))


def build(values: ConfigDict, context: Context) -> Addition:
    length = values.length
    spec = ViewSpec(
        context.recipe,
        views.independent(length + 1),
        online=tuple(range(length)),
        target=(length,),
    )
    loss = seqjepa_loss(values, context.key)
    return Addition({context.key: spec}, {context.key: (values.weight, loss)})


CARD = Card(
    name="seqjepa",
    title="seq-JEPA",
    source="Ghaemi et al. 2025 (NeurIPS); hafezgh/seq-jepa at 73e0550",
    settings={
        "length": whole(3, "views that are observed; one more is predicted", low=1, high=64),
        "code": whole(128, "width that a change gets", low=1, high=WIDEST),
        "layers": whole(3, "of the transformer", low=1, high=64),
        "heads": whole(4, "of its attention", low=1, high=64),
        "hidden": widths((1024,), "of the predictor's hidden layers"),
    },
    build=build,
    needs=(TARGET, DRAWS),
    compares=False,
    benchmark=Row(
        small={"code": 32, "hidden": (256,)},
        config={"target.momentum": 0.996, "target.final": 1.0},
        cost={"": 5 / 3},
        projector=False,
    ),
)
