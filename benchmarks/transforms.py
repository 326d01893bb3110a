"""Views per second of each transformation and recipe: `python benchmarks/transforms.py`."""

import argparse
import json
import statistics
import time

import jax
from rich.console import Console
from rich.table import Table

from eqssl_jax import transforms
from eqssl_jax.transforms import Transform


def cases(size: int) -> dict[str, Transform]:
    """What is measured, by name."""
    single = {
        "random_resized_crop": transforms.random_resized_crop(size),
        "horizontal_flip": transforms.horizontal_flip(),
        "rotate": transforms.rotate(),
        "color_jitter": transforms.color_jitter(),
        "grayscale": transforms.grayscale(),
        "gaussian_blur(3)": transforms.gaussian_blur(3),
        "gaussian_blur(5)": transforms.gaussian_blur(5),
        "gaussian_blur(23)": transforms.gaussian_blur(23),
        "solarize": transforms.solarize(),
        "normalize": transforms.normalize((0.5,) * 3, (0.2,) * 3),
    }
    listed = {f"recipe {name}": make(size) for name, make in transforms.recipes.RECIPES.items()}
    return single | listed


def views_per_second(transform: Transform, size: int, batch: int, repeats: int) -> float:
    """Median rate of drawing and applying `transform` to a batch, after compiling."""

    @jax.jit
    def views(key: jax.Array, images: jax.Array) -> jax.Array:
        params = jax.vmap(transform.sample)(jax.random.split(key, batch))
        in_axes = (0 if jax.tree.leaves(params) else None, 0)
        return jax.vmap(transform.apply, in_axes)(params, images)

    images = jax.random.uniform(jax.random.key(0), (batch, size, size, 3))
    seconds = []
    for key in jax.random.split(jax.random.key(1), repeats + 1):
        start = time.perf_counter()
        views(key, images).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds[1:])  # the first one compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", help="also write the rates to this file")
    flags = parser.parse_args()
    rates = {
        name: views_per_second(transform, flags.size, flags.batch, flags.repeats)
        for name, transform in cases(flags.size).items()
    }
    device = jax.devices()[0].device_kind
    table = Table("transformation", "views/s", title=f"{flags.size} px, {flags.batch}, {device}")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}")
    Console().print(table)
    if flags.json:
        with open(flags.json, "w") as file:
            json.dump({**vars(flags), "device": device, "views_per_second": rates}, file, indent=2)


if __name__ == "__main__":
    main()
