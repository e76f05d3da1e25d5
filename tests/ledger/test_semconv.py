"""Every attribute's name stands in one file, once."""

from kproxy.ledger import semconv
from tests.arch.tree import sources

NAMES = {
    name: value
    for name, value in vars(semconv).items()
    if name.isupper() and isinstance(value, str) and "." in value
}


def test_names_are_spelled_nowhere_else() -> None:
    spelled = [
        f"{source.path}: {name}"
        for source in sources("kproxy")
        if source.path != "kproxy/ledger/semconv.py"
        for name in (*NAMES.values(), *semconv.OLDER.values())
        if f'"{name}"' in source.text
    ]
    assert spelled == []


def test_no_name_stands_twice() -> None:
    assert len(set(NAMES.values())) == len(NAMES) > 30


def test_what_was_renamed_is_known_by_its_present_name() -> None:
    assert set(semconv.OLDER) <= set(NAMES.values())
    assert not set(semconv.OLDER.values()) & set(NAMES.values())


def test_providers_as_the_conventions_spell_them() -> None:
    found = [semconv.provider_name(slug) for slug in ("openai", "xai", "mistral", "gemini", "acme")]
    assert found == ["openai", "x_ai", "mistral_ai", "gcp.gemini", "acme"]
