"""The pages of the documentation as text: code blocks, tables and links."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPO

DOCS = REPO / "docs"
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: Path
    line: int  # of its first line of code
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPO)}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All code blocks of a language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 2
                found.append(Block(page, line, language, match[2]))
    return found


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """Code between backticks in the prose of a page."""
    return _INLINE.findall(prose(page))


def table_rows(page: str, heading: str = "") -> list[list[str]]:
    """Cells of every table row of a page, or of the section with a heading of any level."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        [start] = re.finditer(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE)
        rest = text[start.end() :]
        following = re.search(r"^#+ ", rest, re.MULTILINE)
        text = rest[: following.start()] if following else rest
    rows = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set(" -:")]


def names_in(cell: str) -> list[str]:
    """Names between backticks in a table cell."""
    return _INLINE.findall(cell)
