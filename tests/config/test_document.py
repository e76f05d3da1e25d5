"""For every path of a file, the line where an operator would look."""

import pytest

from kproxy.config.document import ConfigError, Document, PlacedError, spell

TEXT = """\
# a comment
listen = [
  "127.0.0.1:4000",
  "127.0.0.1:4001",
]

[providers.acme]   # line 7
base_url = "http://[::1]/[x]"
note = '''
[providers.fake]
'''

[providers."a.b"]
x.y = 1

[[models]]
id = "one"
price = { input = 1, output = 2 }

[[models]]
id = "two"
[models.price]
input = 3
"""


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (("listen",), 2),
        (("listen", 1), 2),
        (("providers", "acme"), 7),
        (("providers", "acme", "base_url"), 8),
        (("providers", "acme", "note"), 9),
        (("providers", "acme", "missing"), 7),
        (("providers", "fake"), 7),
        (("providers", "a.b"), 13),
        (("providers", "a.b", "x", "y"), 14),
        (("models",), 16),
        (("models", 0, "price", "input"), 18),
        (("models", 1), 20),
        (("models", 1, "id"), 21),
        (("models", 1, "price", "input"), 23),
        (("models", 2), 16),
        (("missing",), None),
        ((), None),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines(steps, line, newline):
    assert Document(TEXT.replace("\n", newline)).line_of(steps) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \n", 2),
        ("a = 1\nb\n", 2),
        ("[a]\n[a]\n", 2),
        ('a = "x\n', 1),
        ("a = [\n1,\n", 3),
        ("a = 1\na = 2\n", 2),
        ("a = 2026-13-45\n", 1),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(tmp_path, text, line):
    file = tmp_path / "kproxy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Document.read(file)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert "(at" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = \xff", "is not UTF-8 text"),
        (b"a = " + b"[" * 5_000, "nested too deeply"),
        (b"a = " + b"1" * 5_000, "digits"),
    ],
)
def test_hostile_files_are_refused_by_name(tmp_path, content, message):
    file = tmp_path / "kproxy.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Document.read(file)
    assert str(caught.value).startswith(str(file))


def test_a_file_that_is_missing_or_a_directory_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        Document.read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Document.read(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "kproxy.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert Document.read(tmp_path / "kproxy.toml").tree == {"a": 1}


def test_a_problem_gets_its_place_and_one_outside_the_file_gets_its_name(tmp_path):
    document = Document(TEXT, tmp_path / "kproxy.toml")
    inside = document.error(PlacedError(("models", 1, "id"), "is bad"))
    assert str(inside) == f"{tmp_path}/kproxy.toml:21: models[1].id: is bad"
    assert (inside.line, inside.path, inside.reason) == (21, "models[1].id", "is bad")
    outside = document.error(PlacedError(("OPENAI_API_KEY",), "is bad"))
    assert str(outside) == "OPENAI_API_KEY: is bad"


def test_a_path_is_spelled_as_toml_spells_it():
    assert spell(("models", 0, "price", "input")) == "models[0].price.input"
    assert spell(("providers", "a.b", "x")) == 'providers."a.b".x'
    assert "\n" not in spell(("a\nb",))
    assert spell(()) == ""


def test_a_long_file_is_searched_in_a_few_parses(monkeypatch):
    rows = "".join(f'[[models]]\nid = "m{at}"\nprovider = "p"\n' for at in range(400))
    document = Document(rows)
    parses = []
    up_to = Document._up_to
    monkeypatch.setattr(
        Document, "_up_to", lambda self, end: parses.append(end) or up_to(self, end)
    )
    assert document.line_of(("models", 399, "id")) == 399 * 3 + 2
    assert len(parses) <= 11
