"""Public image sets, ready to be trained on, without TensorFlow.

    python -m eqssl_jax.prepare cifar10 --out=data        # data/cifar10.npz
    python -m eqssl_jax.prepare flowers102 --out=data     # the folder data/flowers102

cifar10, cifar100, stl10 (each an .npz: config.data.name=arrays) and flowers102 (a folder:
config.data.name=folder) come from their publishers, with checksums; a download that broke off is
resumed by the same command. stl10 needs 6 GB of memory once. Sets of Hugging Face need no
preparation: config.data.name=hf:NAME.
"""

from absl import app, flags

from eqssl_jax import command

OUT = flags.DEFINE_string("out", None, "The folder to write to.")
MIRROR = flags.DEFINE_string("mirror", "", "An address with files of the same names.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    def run() -> None:
        from eqssl_jax.data.publishers import prepare

        place = prepare(argv[1], command.folder("--out", OUT.value or ""), mirror=MIRROR.value)
        name = "arrays" if place.suffix == ".npz" else "folder"
        print(f"Written: --config.data.name={name} --config.data.directory={place}", flush=True)

    if len(argv) != 2 or OUT.value is None:
        raise app.UsageError("Give one set and --out, e.g. cifar10 --out=data.")
    command.run_command(run, argv[:1])


if __name__ == "__main__":
    command.start(main)
