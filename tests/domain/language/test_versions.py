"""Versions and artifacts: B80, B81 and what each way of versioning takes."""

import pytest

from shipslog.domain.errors import DigestRequiredError, InvalidError
from shipslog.domain.language.versions import check_artifact, check_version

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("versioning", "version"),
    [
        ("semver", "1.4.0"),
        ("semver", "2.0.0-rc.1+build.5"),
        ("pep440", "1.4"),
        ("pep440", "2.0rc1"),
        ("any", "main@3f2a"),
        ("any", "v" * 128),
    ],
)
def test_a_version_is_one_under_its_versioning(versioning: str, version: str) -> None:
    check_version(version, versioning)


@pytest.mark.parametrize(
    ("versioning", "version"),
    [
        ("semver", "1.4"),
        ("semver", "v1.4.0"),
        ("semver", "01.4.0"),
        ("semver", "1.4.0\n"),
        ("semver", "\uff11.4.0"),
        ("pep440", "one"),
        ("pep440", " 1.4"),
        ("any", ""),
        ("any", "v" * 129),
        ("any", "a b"),
        ("any", "é"),
        ("any", "\x1b[31m"),
        ("any", "-rf"),
        ("any", "a\0"),
    ],
)
def test_another_version_is_refused(versioning: str, version: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_version(version, versioning)
    assert caught.value.pointer == "/version"


@pytest.mark.parametrize("name", ["web", "registry.example:5000/team/web", "web:1.4.0"])
def test_an_artifact_is_named_by_its_digest(name: str) -> None:
    check_artifact(f"{name}@sha256:{DIGEST}")


@pytest.mark.parametrize(
    "artifact", ["web:latest", "web", "registry:5000/web", "shapes:latest", ""]
)
def test_b80_a_tag_is_no_digest(artifact: str) -> None:
    with pytest.raises(DigestRequiredError) as caught:
        check_artifact(artifact)
    assert caught.value.pointer == "/artifact"


@pytest.mark.parametrize(
    "artifact",
    [
        f"web@sha256:{DIGEST[:-1]}",
        f"web@sha256:{DIGEST.upper()}",
        f"web@sha1:{DIGEST[:40]}",
        f"sha1:{DIGEST[:40]}",
        f"sha256:{DIGEST}",
        f"@sha256:{DIGEST}",
        f"-web@sha256:{DIGEST}",
        f"web@sha256:{DIGEST}\n",
        f"{'w' * 500}@sha256:{DIGEST}",
    ],
)
def test_b81_another_digest_is_refused(artifact: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_artifact(artifact)
    assert caught.value.slug == "invalid"
