"""Where arrays live: one mesh axis over all devices; one device is a mesh of one."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices (default: all), along the axis "data".

    Axes are Auto: with the default Explicit axes of jax 0.10, `z @ z.T` of sharded z is refused.
    """
    chosen = jax.devices()[:devices]
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Cut along `axis`, a contiguous piece of the batch for each device."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
