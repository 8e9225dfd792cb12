"""Links resolve, and the documentation site builds without warnings."""

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.docs.pages import PAGES, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# What a browser would fetch from another host when it shows a page.
_REMOTE = re.compile(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link(?![^>]+rel="canonical")'
                     r'[^>]+href="(?:https?:)?//')  # fmt: skip


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as a code host and MkDocs derive them."""
    found = set()
    for heading in _HEADING.findall(prose(page)):
        text = unicodedata.normalize("NFKD", heading.replace("`", "")).encode("ascii", "ignore")
        words = re.sub(r"[^\w\s-]", "", text.decode()).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", words))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        file = page if not target else page.parent / target
        resolves = "://" in link or file.exists()
        if resolves and anchor and file.suffix == ".md":
            resolves = anchor in anchors(file)
        if not resolves:
            broken.append(link)
    assert broken == []


def test_readme_is_short() -> None:
    text = (REPO / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra dev)")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=REPO, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) / 2
    assert [page.name for page in pages if _REMOTE.search(page.read_text(encoding="utf-8"))] == []
    assert (tmp_path / "site" / "repository" / "cluster.yaml").is_file()
