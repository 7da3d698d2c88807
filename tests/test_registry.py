from collections.abc import Callable

import pytest

from dglib.errors import UserError
from dglib.training.registry import Registry

not_callable = 3


@pytest.fixture
def animals() -> Registry[Callable[[], str]]:
    registry: Registry[Callable[[], str]] = Registry("animal")

    @registry.register("dog")
    def dog() -> str:
        return "woof"

    @registry.register("cat")
    def cat() -> str:
        return "meow"

    return registry


def cow() -> str:
    return "moo"


def test_module_and_attribute_are_imported_without_registration(animals):
    assert animals.get(f"{__name__}:cow") is cow
    assert "cow" not in animals.names()


def test_a_name_that_is_taken_is_refused_and_the_entry_stays(animals):
    with pytest.raises(UserError, match="animal 'dog' is registered already"):
        animals.register("dog")(cow)
    assert animals.get("dog")() == "woof"


def test_the_same_definition_run_again_replaces_its_entry(animals):
    """As a notebook's cell that is run twice does."""
    for sound in ("baa", "maa"):

        @animals.register("sheep")
        def sheep(sound: str = sound) -> str:
            return sound

    assert animals.get("sheep")() == "maa"


def test_an_unknown_name_gets_the_kind_the_value_the_nearest_and_all_allowed(animals):
    with pytest.raises(UserError) as caught:
        animals.get("dogg")
    assert str(caught.value) == (
        "animal 'dogg' is unknown: did you mean 'dog'? allowed are cat, dog, or module:attribute for your own"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module_anywhere:f", "No module named 'no_such_module_anywhere'"),
        (f"{__name__}:no_such_attribute", "no_such_attribute"),
        (".relative:f", "relative"),
        (f"{__name__}:not_callable", "is no function or class, but 3"),
    ],
)
def test_what_cannot_be_imported_is_one_line(animals, name, why):
    with pytest.raises(UserError) as caught:
        animals.get(name)
    message = str(caught.value)
    assert message.startswith(f"animal '{name}' ")
    assert why in message
    assert "\n" not in message


def test_a_dotted_name_gets_the_form_with_a_colon():
    with pytest.raises(UserError, match=r"did you mean 'my_zoo.animals:cow'\? allowed is module:attribute"):
        Registry("animal").get("my_zoo.animals.cow")


def test_an_error_inside_the_users_module_keeps_its_traceback(animals, tmp_path, monkeypatch):
    (tmp_path / "broken_part.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        animals.get("broken_part:f")
