"""How do parameters move? Set-up, step, loop, checkpoints."""
