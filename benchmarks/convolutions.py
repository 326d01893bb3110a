"""Convolutions by XLA and by patches: each layer's three products, then whole networks.

    python benchmarks/convolutions.py                     layers of ResNet-18 at 32 px
    python benchmarks/convolutions.py --loop --images=2   the same in the body of a loop
    python benchmarks/convolutions.py --encoder=resnet18  forward and backward of 4 × 64 views

Both ways are timed in turns. CPU seconds of the process (all threads) are printed beside wall
seconds: on a machine with other work only they can be compared. The body of a loop is of interest
because XLA for CPU leaves all but forward convolutions unoptimised there.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from eqssl_jax import encoders
from eqssl_jax.encoders.conv import IMPLEMENTATIONS

# Inputs, outputs, side of the image, side of the kernel, stride.
LAYERS = [
    (3, 64, 32, 3, 1),
    (64, 64, 32, 3, 1),
    (64, 128, 32, 3, 2),
    (64, 128, 32, 1, 2),
    (128, 128, 16, 3, 1),
    (256, 256, 8, 3, 1),
    (512, 512, 4, 3, 1),
]
LOOP = 2

Action = Callable[[], Any]


def measure(actions: dict[str, Action], repeats: int) -> dict[str, tuple[float, float]]:
    """Least wall and CPU seconds of each action, taken in turns; the first round compiles."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for round_ in range(repeats + 1):
        for name, action in actions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(action())
            if round_:
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: (min(w for w, _ in t), min(c for _, c in t)) for name, t in seconds.items()}


def products(name: str, stride: int) -> dict[str, Callable[..., Any]]:
    """The three products of a layer, called with (x, kernel, g)."""

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return IMPLEMENTATIONS[name](x, kernel, stride)

    return {
        "forward": lambda x, kernel, g: convolve(x, kernel),
        "d input": lambda x, kernel, g: jax.vjp(lambda x: convolve(x, kernel), x)[1](g)[0],
        "d kernel": lambda x, kernel, g: jax.vjp(lambda k: convolve(x, k), kernel)[1](g)[0],
    }


def in_loop(product: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of LOOP passes, each on its own input."""

    def total(xs: jax.Array, kernel: jax.Array, gs: jax.Array) -> jax.Array:
        def step(carry: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
            return carry + product(inputs[0], kernel, inputs[1]), None

        like = jax.eval_shape(product, xs[0], kernel, gs[0])
        return jax.lax.scan(step, jnp.zeros(like.shape, like.dtype), (xs, gs))[0]

    return total


def layer(shape: tuple[int, ...], images: int, repeats: int, *, loop: bool) -> list[list[str]]:
    """Rows of the table: one for each product of a layer."""
    inputs, outputs, side, size, stride = shape
    keys = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(keys[0], (LOOP, images, side, side, inputs))
    kernel = jax.random.normal(keys[1], (size, size, inputs, outputs))
    gs = jax.random.normal(keys[2], (LOOP, images, side // stride, side // stride, outputs))
    flop = 2 * images * (side // stride) ** 2 * size**2 * inputs * outputs
    rows = []
    for product in ("forward", "d input", "d kernel"):
        actions: dict[str, Action] = {}
        for name in IMPLEMENTATIONS:
            function = products(name, stride)[product]
            if loop:
                actions[name] = partial(jax.jit(in_loop(function)), xs, kernel, gs)
            else:
                actions[name] = partial(jax.jit(function), xs[0], kernel, gs[0])
        seconds = measure(actions, repeats)
        passes = LOOP if loop else 1
        cells = [f"{flop * passes / cpu / 1e9:.1f}" for _, cpu in seconds.values()]
        rows.append(["{}→{} {}px {}×{}/{}".format(*shape[:3], size, size, stride), product, *cells])
    return rows


def network(encoder: str, conv: str, dtype: str, images: int, views: int) -> Action:
    """Forward and backward of distinct views, without rendering, objective or update."""
    built = encoders.build(
        encoder=encoder, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv, compute_dtype=dtype
    )
    start = built.init(jax.random.key(0), (32, 32, 3))
    x = jax.random.uniform(jax.random.key(1), (images * views, 32, 32, 3))

    @jax.jit
    def step(params: Any, stats: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            (_, z), moved = built.apply(params, stats, x, views=views, train=True)
            return jnp.sum(z * z), moved

        return jax.grad(loss, has_aux=True)(params)

    return partial(step, start["params"], start["batch_stats"], x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="time this network instead of single layers")
    parser.add_argument("--loop", action="store_true", help="layers in the body of a loop")
    parser.add_argument("--dtype", default="float32", help="of the network: float32 or bfloat16")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.encoder:
        table = Table("conv", "wall s", "CPU s", "images/s (wall)")
        seconds = measure(
            {
                conv: network(args.encoder, conv, args.dtype, args.images, args.views)
                for conv in IMPLEMENTATIONS
            },
            args.repeats,
        )
        for conv, (wall, cpu) in seconds.items():
            table.add_row(conv, f"{wall:.3f}", f"{cpu:.3f}", f"{args.images / wall:.1f}")
    else:
        table = Table("layer", "product", *IMPLEMENTATIONS, title="GFLOP per CPU second")
        for shape in LAYERS:
            for row in layer(shape, args.images * args.views, args.repeats, loop=args.loop):
                table.add_row(*row)
    Console().print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}", table)


if __name__ == "__main__":
    main()
