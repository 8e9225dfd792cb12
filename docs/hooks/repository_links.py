"""Makes links from pages to files of the repository work on the documentation site.

Pages link to files outside docs/, such as `cluster.yaml`, with relative links that work on a code
host. This MkDocs hook copies each of those files into the site, below `repository/`, and points
the links there. A link to a file that does not exist stays as it is, and `mkdocs build --strict`
rejects it.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FOLDER = "repository"
# The target of an inline link, without its anchor.
_TARGET = re.compile(r"\]\(([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file of the repository that a page links to."""
    linked = {
        name
        for page in files.documentation_pages()
        for target in _TARGET.findall(page.content_string)
        if (name := repository_file(target, page.src_uri, config)) is not None
    }
    for name in sorted(linked):
        content = (_repository(config) / name).read_bytes()
        files.append(File.generated(config, site_name(name), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository at their copies."""
    folder = posixpath.dirname(page.file.src_uri)

    def replace(match: re.Match[str]) -> str:
        name = repository_file(match[1], page.file.src_uri, config)
        if name is None:
            return match[0]
        return f"]({posixpath.relpath(site_name(name), folder or '.')}"

    return _TARGET.sub(replace, markdown)


def repository_file(target: str, page: str, config: MkDocsConfig) -> str | None:
    """The file of the repository, outside docs/, that a link of `page` points to.

    Args:
        target: The link, relative to the page.
        page: Path of the page, relative to docs/.
        config: Configuration of the site.

    Returns:
        Its path relative to the repository; None for any other link.
    """
    if "://" in target:
        return None
    docs = Path(config.docs_dir)
    file = Path(os.path.normpath(docs / posixpath.dirname(page) / target))
    repository = _repository(config)
    if file.is_relative_to(docs) or not file.is_relative_to(repository) or not file.is_file():
        return None
    return file.relative_to(repository).as_posix()


def site_name(name: str) -> str:
    """Where the copy of a file of the repository is stored in the site.

    Markdown and Dockerfiles are copied as text, so that a browser shows them unchanged.
    """
    suffix = posixpath.splitext(name)[1]
    return f"{FOLDER}/{name}" if suffix not in (".md", "") else f"{FOLDER}/{name}.txt"


def _repository(config: MkDocsConfig) -> Path:
    return Path(config.docs_dir).parent
