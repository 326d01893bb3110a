"""Commands define their flags when they are imported, each for a process of its own."""

from pathlib import Path

ROOT = Path(__file__).parent
collect_ignore = [
    str(path.relative_to(ROOT))
    for path in (ROOT / "eqssl_jax").glob("*.py")
    if "flags.DEFINE_" in path.read_text(encoding="utf-8")
]
