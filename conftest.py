"""Commands define their flags when they are imported, each for a process of its own."""

COMMANDS = ("embed", "eval", "export", "report", "tables")
collect_ignore = [f"eqssl_jax/{name}.py" for name in COMMANDS]
