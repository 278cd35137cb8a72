"""YAML 1.2: plain values with their lines; everything clever is refused."""

import pytest

from shipslog.adapters.documents.files import read_text
from shipslog.adapters.documents.written import MAX_DEPTH, MAX_DOCUMENTS, WrittenDocument
from shipslog.domain.errors import InvalidError

PIPELINE = """\
kind: Pipeline
name: web
stages:
  - name: build
    run: [make]
    retry:
      attempts: {attempts}
"""


def read(text: str) -> list[WrittenDocument]:
    return read_text(text, "web.yaml")


def value(text: str) -> object:
    return read(f"value: {text}")[0].fields["value"]


def refused(text: str, place: str) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        read(text)
    assert str(caught.value).startswith(f"web.yaml{place}: "), str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("-7", -7),
        ("12:30:45", "12:30:45"),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("5%", "5%"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("[a, [b], {c: d}]", ["a", ["b"], {"c": "d"}]),
    ],
)
def test_b110_values_are_those_of_the_core_schema(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_b110_the_models_then_refuse_the_wrong_type_by_its_line() -> None:
    (document,) = read(PIPELINE.format(attempts="no"))
    with pytest.raises(InvalidError) as caught:
        document.checked()
    assert str(caught.value) == "web.yaml:7: /stages/0/retry/attempts: This is a whole number."
    assert (caught.value.pointer, caught.value.context["line"]) == ("/stages/0/retry/attempts", 7)
    assert read(PIPELINE.format(attempts="010"))[0].checked()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: web\nname: api", ":2: /name"),
        ("a:\n  b: 1\n  b: 2", ":3: /a/b"),
        ("{a: 1, a: 2}", ":1: /a"),
        ("a: 1\n'a': 2", ":2: /a"),
    ],
)
def test_b110_duplicate_keys_are_refused(text: str, place: str) -> None:
    assert "twice" in str(refused(text, place))


@pytest.mark.parametrize(
    "text",
    [
        "run: !!python/object/apply:os.system ['id']",
        "run: !!python/name:os.system",
        "run: !!str 5",
        "run: ! 5",
        "run: !local [a]",
        "run: !!set {a}",
        "%TAG ! tag:yaml.org,2002:\n---\nrun: !str 5",
    ],
)
def test_b108_tags_are_refused(text: str) -> None:
    assert "Tags" in str(refused(text, f":{text.count(chr(10)) + 1}: /run"))


def test_b108_a_tag_on_a_key_or_the_document_is_refused() -> None:
    refused("!!python/object:x.Y {}", ":1")
    refused("!!str a: b", ":1")


def test_b109_aliases_and_anchors_are_refused() -> None:
    assert "Anchors" in str(refused("a: &a [x]\nb: *a", ":1: /a"))
    assert "Anchors" in str(refused("&k a: b", ":1"))
    refused("b: *a", ":1: /b")
    bomb = "a: &a [x, x]\n" + "\n".join(f"b{n}: &b{n} [*a, *a]" for n in range(20))
    refused(bomb, ":1: /a")


def test_b109_a_merge_key_is_a_field_like_any_other() -> None:
    (document,) = read("kind: Environment\nname: s\n<<: {concurrency: refuse}")
    with pytest.raises(InvalidError, match=r"web\.yaml:3: /<<: There is no such field"):
        document.checked()


@pytest.mark.parametrize("number", [".nan", ".inf", "-.Inf", "1e400", "+.INF"])
def test_numbers_that_cannot_be_kept_are_refused(number: str) -> None:
    refused(f"a:\n - {number}", ":2: /a/0")


def test_a_number_of_5000_digits_is_refused() -> None:
    refused(f"a: {'9' * 5000}", ":1: /a")


def test_depth_is_bounded() -> None:
    read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    refused("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, ":1: " + "/a" + "/0" * (MAX_DEPTH - 1))
    refused("a: " + "[" * 100_000, ":1: " + "/a" + "/0" * (MAX_DEPTH - 1))


@pytest.mark.parametrize("text", ["1: a", "true: a", "~: a", "[a]: b", "{a: b}: c"])
def test_a_fields_name_is_a_text(text: str) -> None:
    assert "name is a text" in str(refused(text, ":1"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2", ":1"),
        ("a: b\n  c: d", ":2"),
        ("a: 'b", ":1"),
        ("a:\n\t- b", ":2"),
        ("a: b\nc: \x07", ":2"),
        ("a: b\n: : :\n- c", ":2"),
        ('a: "\\q"', ":1"),
        ("- a", ":1"),
        ("text", ":1"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(text: str, place: str) -> None:
    refused(text, place)


def test_one_file_holds_several_documents() -> None:
    documents = read("---\nname: a\n---\n# nothing\n---\nname: b\n...\n")
    assert [(d.fields["name"], d.line("/name")) for d in documents] == [("a", 2), ("b", 6)]


def test_the_number_of_documents_is_bounded() -> None:
    refused("---\na: 1\n" * (MAX_DOCUMENTS + 1), f":{2 * MAX_DOCUMENTS + 1}")


def test_a_fault_in_what_is_missing_has_the_line_of_what_is_around_it() -> None:
    (document,) = read("kind: Pipeline\nname: web\nstages:\n  - {run: [make]}")
    with pytest.raises(InvalidError, match=r"web\.yaml:4: /stages/0/name: This field is needed"):
        document.checked()


def test_b24_an_escaped_surrogate_is_refused_by_the_models() -> None:
    (document,) = read('kind: Pipeline\nname: "\\ud800"\nstages: []')
    with pytest.raises(InvalidError, match=r"web\.yaml:2: /name: A text holds a lone surrogate"):
        document.checked()
