"""One self-contained HTML page of one or several runs: curves, numbers, figures, settings.

python -m eqssl_jax.report --workdir=runs/care                          # runs/care/report.html
python -m eqssl_jax.report --workdir=runs/care --workdir=runs/simclr --out=report.html
"""

from absl import app, flags

from eqssl_jax import command, storage
from eqssl_jax.command import run_command, start

# The flag of `command` holds one folder; this binary compares several.
WORKDIRS = flags.DEFINE_multi_string(
    "workdir",
    None,
    "Folder of a run, of a comparison or of a table's runs; may be given several times.",
    allow_override=True,
)
OUT = flags.DEFINE_string(
    "out", None, "The HTML file to write; report.html in the first workdir if not given."
)
LAYOUT = flags.DEFINE_enum(
    "layout", "pca", ["pca", "umap"], "Of maps of embeddings; umap needs the extra of that name."
)
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax.experiment.page import write_page

        workdirs = [
            command.folder("--workdir", folder, bucket=True) for folder in WORKDIRS.value or ()
        ]
        out = storage.path(OUT.value) if OUT.value else workdirs[0] / "report.html"
        path = write_page(workdirs, out, layout=LAYOUT.value)
        print(f"The page: {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser.")

    if not WORKDIRS.value:
        raise app.UsageError("--workdir is needed: the folder that training was started with.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
