"""What the options of data sources may be; an option means the same in every source that has it."""

from collections.abc import Mapping

from eqssl_jax.settings import (
    Setting,
    also,
    choice,
    either,
    flag,
    names,
    number,
    text,
    whole,
)

_MOST = 10**7  # examples that are rendered or generated
_WORDS = names((), "", least=1, most=100_000)
_SOME = either(whole(1, "the first so many in sorted order", low=1, high=100_000), _WORDS)

RANGES: Mapping[str, Setting] = {
    "train_size": whole(8192, "images for training and validation", low=1, high=_MOST),
    "test_size": whole(2048, "images for testing", low=1, high=_MOST),
    "out_of_range_size": whole(2048, "images of unseen hues and angles", low=1, high=_MOST),
    "task": choice("outline", "what the class is", ("outline", "hue", "angle", "white", "kind")),
    "outlines": also(whole(10, "how many are drawn", low=1, high=10), None, "all"),
    "poses": choice(
        "box", "of solids: three angles within ±π/2, or all rotations", ("box", "full")
    ),
    "views_each": whole(8, "scenes of each object", low=2, high=1000),
    "train_objects": whole(4096, "objects for training and validation", low=24, high=2**22),
    "test_objects": whole(512, "objects for testing", low=12, high=2**22),
    "out_of_range": also(text("", "root of 3DIEBench-OOD", empty=False), None, "none"),
    "points": whole(128, "rows of a point cloud", low=3, high=65_536),
    "scale": number(10.0, "Å that become 1; 0: each cloud's own radius", low=0, high=1e6),
    "shortest": whole(10, "Cα atoms of a chain", low=3, high=1_000_000),
    "test": number(0.2, "fraction of all chains", above=0, below=1),
    "chains": whole(320, "that are generated", low=3, high=1_000_000),
    "classes": also(_SOME, None, "all"),
    "varieties": also(_SOME, None, "all"),
    "manifest": also(text("", "a CSV in the directory", empty=False), None, "none"),
    "factors": either(
        names((), "columns of the manifest", most=1000),
        text("", "a column of the manifest", empty=False),
    ),
    "margin": number(0.2, "around a box, as a fraction of its side", low=0, high=10),
    "train_split": text("train", "of TFDS", longest=200, empty=False),
    "test_split": also(text("test", "of TFDS", longest=200, empty=False), None, "its usual one"),
    "image": text("", "column of images", longest=200),
    "label": text("", "column of labels", longest=200),
    "crop_boxes": flag(False, "cut every image to the square around its box"),
}
