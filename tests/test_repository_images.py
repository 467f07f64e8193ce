"""Images install what pyproject.toml says, and nothing that is not pinned."""

import importlib.util
import re
from collections.abc import Callable

import pytest

from tests.repository import ROOT

Requirements = Callable[[str, list[str]], list[str]]


@pytest.fixture
def requirements() -> Requirements:
    """The function of images/requirements.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("requirements", ROOT / "images" / "requirements.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.requirements  # type: ignore[no-any-return]


@pytest.mark.parametrize("extra", ["engine", "operator", "local"])
def test_what_images_install_is_pinned(requirements: Requirements, extra: str) -> None:
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = requirements((ROOT / "pyproject.toml").read_text(), [extra])
    assert wanted
    assert {_name(line) for line in wanted} <= pinned


def test_an_unknown_extra_is_an_error(requirements: Requirements) -> None:
    with pytest.raises(KeyError, match="nothing"):
        requirements((ROOT / "pyproject.toml").read_text(), ["nothing"])


@pytest.mark.parametrize("image", ["operator", "engine"])
def test_images_do_not_run_as_root(image: str) -> None:
    text = (ROOT / "images" / f"{image}.Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:10001"


@pytest.mark.parametrize("image", ["client", "engine", "operator"])
def test_what_an_image_copies_is_sent_to_the_builder(image: str) -> None:
    text = (ROOT / "images" / f"{image}.Dockerfile").read_text()
    copied = [name for names in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in names.split()]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert "constraints.txt" in copied
    assert set(copied) - {"."} <= sent


def _name(requirement: str) -> str:
    return re.split(r"[\[=<>~! ]", requirement, maxsplit=1)[0].lower().replace("_", "-")
