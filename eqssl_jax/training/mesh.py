"""Where arrays live: one mesh axis over the devices of all processes, be they one or many."""

from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

AXIS = "data"
Tree = TypeVar("Tree")


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices (default: all), along the axis "data".

    The devices of a process follow each other, so that the rows of a batch it reads are contiguous.
    Axes are Auto: with the default Explicit axes of jax 0.10, `z @ z.T` of sharded z is refused.
    """
    chosen = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(chosen[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Cut along `axis`, a contiguous piece of the batch for each device."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def rows(mesh: Mesh, batch: int) -> slice:
    """The rows of a global batch that the devices of this process hold."""
    processes = [device.process_index for device in mesh.devices.flat]
    of_device = batch // len(processes)
    start = processes.index(jax.process_index())
    return slice(start * of_device, (start + processes.count(processes[start])) * of_device)


def spread(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays that every process holds alike, on every device of the mesh."""
    everywhere = replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(tree, everywhere)

    def place(leaf: jax.Array | np.ndarray) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        return jax.make_array_from_process_local_data(everywhere, np.asarray(leaf))

    return jax.tree.map(place, tree)


def place(mesh: Mesh, inputs: np.ndarray, axis: int = 0) -> jax.Array:
    """A global batch, cut along `axis`, from the `rows` of it that each process has read."""
    return jax.make_array_from_process_local_data(batched(mesh, axis), inputs)


def cut(mesh: Mesh, inputs: np.ndarray | jax.Array, axis: int = 0) -> jax.Array | np.ndarray:
    """`place`, but for what is placed already, or what one process may leave to the compiler."""
    if isinstance(inputs, jax.Array) or jax.process_count() == 1:
        return inputs
    return place(mesh, inputs, axis)


def local(tree: PyTree) -> PyTree:
    """Replicated arrays as this process alone sees them, on one of its devices."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)
