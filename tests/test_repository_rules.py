"""Rules of the repository that no linter knows."""

import ast
import re

import pytest

from tests.repository import ROOT, texts, tracked

# In pieces, so that this file does not break its own rule.
MACHINE = [f"/{'work'}/main", f"/{'work'}/shared", f"/{'work'}/.", f"/{'root'}/", f"/opt/{'wheels'}"]
REGISTRIES = [f"{'pypi'}\\.org", f"python{'hosted'}\\.org", f"proxy\\.{'golang'}\\.org", f"deb\\.{'debian'}\\.org"]
MAX_LINES = 400
MAX_FUNCTION = 40


def test_operator_folder_is_no_package() -> None:
    """A package named `operator` would shadow the standard library's."""
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("pattern", [*MACHINE, *REGISTRIES])
def test_no_file_names_a_machine_or_a_package_registry(pattern: str) -> None:
    named = [str(path) for path, text in texts().items() if re.search(pattern, text)]
    assert not named


def test_only_ci_names_the_machine_that_lends_a_kind() -> None:
    word = "test" + "bed"
    assert [str(path) for path, text in texts().items() if word in text.lower()] in ([], [".ci/run"])


def test_no_file_is_longer_than_it_should_be() -> None:
    long = {str(path): len(text.splitlines()) for path, text in texts(".py", ".c", ".h", ".tpl", ".sh").items()}
    assert {path: lines for path, lines in long.items() if lines > MAX_LINES} == {}


def test_no_function_of_the_packages_is_longer_than_it_should_be() -> None:
    found = {}
    for path, text in texts(".py").items():
        if "borealis_" not in str(path):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MAX_FUNCTION:
                    found[f"{path}:{node.name}"] = length
    assert found == {}


def test_every_module_says_why_it_exists() -> None:
    modules = {path: text for path, text in texts(".py").items() if "tests" not in path.parts and text.strip()}
    assert [str(path) for path, text in modules.items() if not ast.get_docstring(ast.parse(text))] == []


def test_links_between_documents_resolve() -> None:
    broken = []
    for path, text in texts(".md").items():
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text):
            if not (ROOT / path.parent / target).exists():
                broken.append(f"{path}: {target}")
    assert broken == []


def test_anchors_resolve() -> None:
    broken = []
    for path, text in texts(".md").items():
        for target, anchor in re.findall(r"\]\(([^):#\s]*)#([^)\s]+)\)", text):
            document = ROOT / path.parent / target if target else ROOT / path
            if document.suffix == ".md" and document.exists() and anchor not in _anchors(document.read_text()):
                broken.append(f"{path}: {target}#{anchor}")
    assert broken == []


def test_scripts_are_executable() -> None:
    scripts = [path for path in tracked() if not path.suffix and (ROOT / path).read_bytes()[:2] == b"#!"]
    assert scripts
    assert [str(path) for path in scripts if not (ROOT / path).stat().st_mode & 0o100] == []


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
