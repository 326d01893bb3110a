"""Which measurements a short table and a figure show: those of the roles that are in use."""

from collections.abc import Iterable, Mapping

ALWAYS = ("knn", "probe_top1", "principal_axis_error", "principal_axis_error_embedding")
# γ and the share that no rotation explains lead; an encoder that ignores the transformation, or has
# collapsed, does well in both, so that invariance and effective rank stand beside them.
ROTATIONAL = ("gamma", "rotation_residual", "invariance_error", "effective_rank")
ROLES: Mapping[str, tuple[str, ...]] = {
    "invariant": ("invariance_error", "effective_rank"),
    "rotational": (*ROTATIONAL, "trajectory_step_variation"),
}
PARTS: Mapping[str, tuple[str, ...]] = {  # one for each part that has the role
    "ordered": ("order_accuracy_amid_{}", "magnitude_r2_{}"),
    "predicted": ("change_r2_{}",),
}


def headlines(metrics: Iterable[str], tables: Iterable[Mapping[str, str]]) -> list[str]:
    """The measurements, of those there are, that runs with these roles are judged by.

    Args:
      metrics: what was measured.
      tables: of each run the role of every part; without any, what a rotational role is judged by.

    >>> measured = ["knn", "gamma", "r2_hue", "order_accuracy_amid_rotate", "invariance_error"]
    >>> headlines(measured, [{"crop": "invariant", "rotate": "ordered"}])
    ['knn', 'invariance_error', 'order_accuracy_amid_rotate']
    """
    held: dict[str, None] = dict.fromkeys(ALWAYS)
    tables = list(tables)
    roles = {role for table in tables for role in table.values()}
    for role in ROLES.keys() & roles if roles else {"rotational"}:
        held |= dict.fromkeys(ROLES[role])
    for table in tables:
        for part, role in table.items():
            held |= dict.fromkeys(name.format(part) for name in PARTS.get(role, ()))
    order = [*ALWAYS, *ROLES["rotational"], *held]
    measured = set(metrics)
    return [name for name in dict.fromkeys(order) if name in held and name in measured]
