"""What a step costs on paper: collectives, rooflines and predictions, for benchmarks/scaling.py."""
