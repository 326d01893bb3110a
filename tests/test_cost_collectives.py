"""What is sent between devices: known bytes of a compiled program, and every way HLO writes it."""

import jax
import jax.numpy as jnp
import pytest
from cost.collectives import Collective, collectives
from jax.sharding import PartitionSpec

from eqssl_jax.training.mesh import AXIS, make_mesh


def test_known_bytes_of_a_compiled_program():
    """Of an array [16, 8] in float32, two rows on each of eight devices: 512 bytes in all."""

    def on_device(x):  # [2, 8]
        def body(_, x):  # three times: a row of each device goes to the next
            moved = jax.lax.ppermute(x[:1], AXIS, [(i, (i + 1) % 8) for i in range(8)])
            return jnp.concatenate([moved, x[1:] * 2])

        x = jax.lax.fori_loop(0, 3, body, x)
        whole = jax.lax.all_gather(jnp.cos(x), AXIS, tiled=True)  # [16, 8]
        swapped = jax.lax.all_to_all(jnp.sin(x), AXIS, 1, 0, tiled=True)  # [16, 1]
        scattered = jax.lax.psum_scatter(whole * x[:1], AXIS, tiled=True)  # [2, 8]
        total = jax.lax.psum(jnp.sum(x, axis=0), AXIS)  # [8]
        return scattered + jnp.sum(swapped), total

    mesh = make_mesh(8)
    over = PartitionSpec(AXIS)
    program = jax.jit(
        jax.shard_map(on_device, mesh=mesh, in_specs=over, out_specs=(over, PartitionSpec()))
    )
    text = program.lower(jax.ShapeDtypeStruct((16, 8), jnp.float32)).compile().as_text()
    assert sorted(collectives(text)) == [
        Collective("all-gather", 512, 8, 1, True),
        Collective("all-reduce", 32, 8, 1, True),
        Collective("all-to-all", 64, 8, 1, True),
        Collective("collective-permute", 32, 8, 3, True),
        Collective("reduce-scatter", 512, 8, 1, True),
    ]


PROGRAM = """HloModule written

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%inner (x: f32[4]) -> f32[1] {
  ROOT %rs = f32[1]{0} reduce-scatter(%x), replica_groups=[2,4]<=[8], to_apply=%sum
}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r = (f32[4]{0}, bf16[6]{0}, /*index=2*/pred[3]{0}) all-reduce(%a, %b, %c), replica_groups={{0,1},{2,3}}, to_apply=%sum
  ROOT %t = (s32[], f32[4]) tuple(%i, %x)
}

%condition (p: (s32[], f32[4])) -> pred[] {
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %g = (f32[4]{0}, f32[32]{0}) all-gather-start(%x), replica_groups=mesh['a'=2,'b'=4] {'a','b'}
  %gd = f32[32]{0} all-gather-done(%g)
  %p = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1},{1,2},{5,5}}
  %pd = f32[4]{0} collective-permute-done(%p)
  %alone = f32[4]{0} all-reduce(%x), replica_groups={{0},{1}}, to_apply=%sum
  %s = f32[4]{0} all-reduce-start(%x), replica_groups=[1,8]<=[2,4]T(1,0), to_apply=%sum
  %sd = f32[4]{0} all-reduce-done(%s)
  %as = ((f32[4]), f32[1], u32[]) async-start(%x), calls=%inner
  %w = (s32[], f32[4]) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %v = (s32[], f32[4]) while(%init), condition=%condition, body=%body
}
"""  # noqa: E501


def test_pairs_tuples_groups_and_loops():
    assert collectives(PROGRAM) == [
        Collective("all-gather", 128, 8, 1, True),
        Collective("collective-permute", 16, 3, 1, True),
        Collective("all-reduce", 16, 8, 1, True),
        Collective("reduce-scatter", 16, 4, 1, True),
        Collective("all-reduce", 16 + 12 + 3, 2, 5, True),
        Collective("all-reduce", 16 + 12 + 3, 2, 1, False),
    ]


def test_what_is_not_understood_is_refused():
    with pytest.raises(ValueError, match="no compiled program"):
        collectives("HloModule empty")
    unknown = PROGRAM.replace("replica_groups=[2,4]<=[8]", "replica_groups=new")
    with pytest.raises(ValueError, match="not understood: ROOT %rs"):
        collectives(unknown)
