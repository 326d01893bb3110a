"""Does advice hold? Rank correlation and regret of small trainings against large ones.

    python -m eqssl_jax.advise --config=configs/advise.py:shapes --workdir=runs/advice
    python -m eqssl_jax.advise --config=configs/advise.py:shapes --workdir=runs/real \\
        --config.seed=100 --config.advice.held_out=test --config.train.steps=600 \\
        --config.model.encoder=resnet_tiny --config.model.stem=imagenet
    python benchmarks/roles.py --advice=runs/advice --real=runs/real

Prints Markdown; run by hand.
"""

import argparse
import json
import math
from pathlib import Path

from agreement import agreement, regrets


def evidence(workdir: Path) -> list[dict]:
    """The last round's evidence of every seed."""
    folders = sorted(workdir.glob("seed_*"))
    if not folders:
        raise SystemExit(f"{workdir} holds no advice: no seed_* folder.")
    return [json.loads(sorted(f.glob("round_*/evidence.json"))[-1].read_text()) for f in folders]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--advice", type=Path, required=True, help="workdir of the advice")
    parser.add_argument("--real", type=Path, required=True, help="workdir of the large trainings")
    args = parser.parse_args()
    small, large = evidence(args.advice), evidence(args.real)
    agreed = agreement(small, large)
    interval = f"90 % interval {agreed.low:.2f} … {agreed.high:.2f}"
    if math.isnan(agreed.low):
        interval = "no interval: all in order, and so few candidates bound nothing"
    print(
        f"Spearman's ρ over {len(agreed.candidates)} candidates: {agreed.correlation:.2f} "
        f"({interval}); {len(small)} seeds of small, "
        f"{len(large)} of large trainings.\n\n| candidate | small | large |\n|---|---|---|"
    )
    for name, a, b in zip(agreed.candidates, agreed.small, agreed.large, strict=True):
        print(f"| {name} | {a:.1%} | {b:.1%} |")
    print("\n| part | advised | best | regret | regret of the base's role |\n|---|---|---|---|---|")
    for part, regret in regrets(
        json.loads((args.advice / "advice.json").read_text()), large
    ).items():
        print(
            f"| {part} | {regret.advised} | {regret.best} | {100 * regret.regret:.1f} | "
            f"{100 * regret.unadvised:.1f} |"
        )


if __name__ == "__main__":
    main()
