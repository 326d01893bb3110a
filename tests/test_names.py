"""Names from a config: built-in ones, ones from outside, and everything that can be wrong."""

from types import SimpleNamespace

import pytest

from eqssl_jax import command, names


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in __import__("sys").path if entry])

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_module_of_the_current_directory_is_imported(module):
    module("outside_good", "class Holder:\n    value = 3\n")
    assert names.resolve("outside_good:Holder.value", "number", {"one": 1}) == 3
    assert names.resolve("one", "number", {"one": 1}) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("two", None, r"config.x is 'two'.*no number of that name.*\['one'\].*module:attribute"),
        ("outside_absent:x", None, r"outside_absent cannot be imported.*put outside_absent.py"),
        ("outside_raises:x", "1 / 0", r"cannot be imported \(ZeroDivisionError"),
        ("outside_syntax:x", "def", r"cannot be imported \(SyntaxError"),
        ("outside_exits:x", "raise SystemExit(3)", r"cannot be imported \(SystemExit"),
        ("outside_needs:x", "import not_there_either", r"No module named 'not_there_either'"),
        ("outside_lacks:x.y", "z = 1", r"has no 'x.y': it has z"),
        (":x", None, "no number of that name"),
        ("a:", None, "no number of that name"),
        ("", None, "no number of that name"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_paragraph(module, name, text, message):
    if text is not None:
        module(name.split(":")[0], text)
    with pytest.raises(ValueError, match=message) as raised:
        names.resolve(name, "number", {"one": 1}, setting="config.x")
    assert "\n" not in str(raised.value)


def test_a_call_that_cannot_work_is_refused_before_it_is_made():
    names.check_call(lambda images, *, size=3: None, "a:b", "f(images)", 1)
    with pytest.raises(ValueError, match=r"a:b takes \(images, labels\), but it must be f\(images"):
        names.check_call(lambda images, labels: None, "a:b", "f(images)", 1)
    with pytest.raises(ValueError, match=r"a:b is 3, but it must be f\(images\)"):
        names.check_call(3, "a:b", "f(images)", 1)
    with pytest.raises(ValueError, match="unexpected keyword argument 'name'"):
        names.check_call(lambda images: None, "a:b", "f(images)", 1, name=3)


def test_a_folder_of_an_unknown_user_is_refused_and_so_is_an_empty_workdir(monkeypatch):
    for place in ("~nobody_of_this_name/run", "~nobody_of_this_name"):
        with pytest.raises(ValueError, match=r"no user 'nobody_of_this_name' here: write ~/"):
            names.user_path(place)
    assert names.user_path("./~x/run").name == "run"
    for given, message in (("", "--workdir is ''"), (" ", "--workdir"), ("~no_body/x", "no user")):
        monkeypatch.setattr(command, "WORKDIR", SimpleNamespace(value=given))
        with pytest.raises(ValueError, match=message):
            command.workdir()
