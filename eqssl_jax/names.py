"""What users name: code, by a built-in name or `module:attribute` of their own, and places."""

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any


def resolve(name: str, kind: str, builtin: Mapping[str, Any], *, setting: str = "") -> Any:
    """The object that a name of a config stands for.

    Args:
      name: a key of `builtin`, or `module:attribute`; the attribute may have dots. The module is
        imported as Python imports it, with the current directory on its path, as for `python -m`.
      kind: what the name stands for, for errors: "encoder".
      builtin: the short names and what they stand for.
      setting: the setting that holds the name, for errors: "config.model.encoder".

    >>> resolve("sqrt", "function", {"sqrt": 1})
    1
    >>> resolve("math:sqrt", "function", {})(9.0)
    3.0

    Raises:
      ValueError: for a name that is neither, a module that cannot be imported, and an attribute
        that the module does not have.
    """
    if name in builtin:
        return builtin[name]
    subject = f"{setting or f'the {kind}'} is {name!r}"
    if not is_outside(name):
        raise ValueError(
            f"{subject}, and there is no {kind} of that name: choose from {sorted(builtin)}, or "
            f"give your own as module:attribute, e.g. my_parts:my_{kind.replace(' ', '_')}."
        )
    module_name, _, attribute = name.partition(":")
    value = _imported(module_name, subject)
    for part in attribute.split("."):
        if not hasattr(value, part):
            public = [key for key in vars(sys.modules[module_name]) if not key.startswith("_")]
            raise ValueError(
                f"{subject}, but the module {module_name} ({_place(module_name)}) has no "
                f"{attribute!r}{nearest(part, public)}: it has "
                f"{', '.join(public[:10]) or 'nothing'}."
            )
        value = getattr(value, part)
    return value


def loose(name: str) -> str:
    """What all spellings of a name share, in any case, with hyphens, spaces or underscores.

    >>> loose("Barlow Twins") == loose("barlow_twins"), loose("E-SSL")
    (True, 'essl')
    """
    return re.sub(r"[-_\s]", "", name).lower()


def nearest(name: str, among: Iterable[str]) -> str:
    """ " (did you mean …?)" with the name that is spelled most alike; "" if none is.

    >>> nearest("Simclr", ["sie", "SimCLR"]), nearest("x", ["sie"])
    (" (did you mean 'SimCLR'?)", '')
    """
    spelled = {loose(candidate): candidate for candidate in among}
    near = difflib.get_close_matches(loose(name), spelled, 1)
    return f" (did you mean {spelled[near[0]]!r}?)" if near else ""


def unknown(field: str, values: object, possible: Collection[str]) -> str:
    """What is wrong with a field that must be a tuple of names there are; "" if nothing is.

    >>> unknown("needs", ("label",), ["labels", "draws"])
    "needs has 'label' (did you mean 'labels'?), and must be a tuple of labels, draws"
    >>> unknown("needs", ("labels",), ["labels", "draws"])
    ''
    """
    must = f"and must be a tuple of {', '.join(possible)}"
    if not isinstance(values, tuple | list):
        return f"{field} is {values!r}, {must}"
    wrong = [value for value in values if value not in possible]
    return f"{field} has {wrong[0]!r}{nearest(str(wrong[0]), possible)}, {must}" if wrong else ""


def is_outside(name: str) -> bool:
    """Whether a name is written as `module:attribute`, both of them Python identifiers.

    >>> is_outside("my_parts:TinyViT"), is_outside("cifar10:3.0.2"), is_outside("resnet18")
    (True, False, False)
    """
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


def check_call(
    function: Any, name: str, expected: str, /, *arguments: Any, **keywords: Any
) -> None:
    """Refuse what is not callable with these arguments, before it is called.

    Raises:
      ValueError: with the name, the signature that was found and the `expected` one.
    """
    if not callable(function):
        raise ValueError(f"{name} is {_short(function)}, but it must be {expected}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions of C without a signature: the call will tell
        return
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise ValueError(
            f"{name} takes {signature}, but it must be {expected}; called so, {error}."
        ) from None


def check_free(
    options: Mapping[str, Any], *functions: Callable[..., Any], start: str, advice: str
) -> None:
    """Refuse options that are named as parameters of the functions they are handed on to.

    Args:
      options: what a user gives by name, beside what these functions are given otherwise.
      functions: those with parameters of their own and `**options`.
      start: what stands before the name of an option, for errors: "--option=".
      advice: which options there are, and where the parameters are given.

    Raises:
      ValueError: for the first of them.
    """
    for function in functions:
        parameters = inspect.signature(function).parameters
        for name in options:
            if name in parameters and parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                raise ValueError(f"{start}{name} is no option ({_short(options[name])}): {advice}.")


def _imported(module: str, subject: str) -> Any:
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # a file may have been written since Python last looked
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        missing = isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name))
        advice = (
            f"put {module.replace('.', '/')}.py into {here}, where this runs, or into a folder of "
            "PYTHONPATH, or install its package"
            if missing
            else "correct the module; python -c 'import " + module + "' shows where it fails"
        )
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        hint = nearest(module, (path.stem for path in Path(here).iterdir())) if missing else ""
        raise ValueError(
            f"{subject}, but the module {module} cannot be imported ({problem}){hint}: {advice}."
        ) from error


def _place(module: str) -> str:
    return str(getattr(sys.modules[module], "__file__", None) or "built in")


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def check_folder_name(name: Any) -> None:
    """Refuse the name of an encoder that cannot be its folder's, beside the files of all.

    Raises:
      ValueError: with the name.
    """
    text = name if isinstance(name, str) else ""
    foreign = set(text) & set("/\\") or not text.isprintable() or text in (".", "..")
    shared = text.lower().startswith(("comparison.", "page.", "spectrum_"))
    if not text.strip() or foreign or shared or len(text.encode()) > 200:
        raise ValueError(
            f"An encoder is called {str(name)[:60]!r} ({type(name).__name__}); its name is that of "
            f"the folder of its results: text without slashes, of at most 200 bytes, "
            f"and not that of the comparison or page."
        )


def user_path(text: str | Path) -> Path:
    """A path as people write it: ~ is their own folder, and ~name that of the user of that name.

    >>> user_path("~nobody-of-this-name/data")
    Traceback (most recent call last):
        ...
    ValueError: The path '~nobody-of-this-name/data' begins with ~, and there is no user \
'nobody-of-this-name' here: write ~/… for your own folder, or ./~… for a folder of that name.

    Raises:
      ValueError: where there is no such user, and for an address.
    """
    if "://" in str(text):
        raise ValueError(
            f"{_short(str(text))} is an address, and this place must be a folder or file of this "
            f"machine: give one, and copy it to or from the bucket (gcloud storage cp, aws s3 cp)."
        )
    if re.match(r"(gs|s3):/", str(text)):
        raise ValueError(
            f"{_short(str(text))} has one slash where an address has two: write "
            f"{str(text).replace(':/', '://', 1)!r}, or ./{text} for a folder of that name."
        )
    path = os.path.expanduser(text)
    if str(path).startswith("~"):
        user = str(path).partition("/")[0][1:]
        raise ValueError(
            f"The path {_short(str(path))} begins with ~, and there is no user {_short(user)} "
            f"here: write ~/… for your own folder, or ./~… for a folder of that name."
        )
    return Path(path)
