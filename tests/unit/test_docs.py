"""The documents hold together: links lead somewhere, and the messages they quote are those that the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The anchors GitHub makes of a document's headings."""
    text = CODE.sub(
        lambda found: "" if found[0].startswith("```") else found[0].strip("`"), document.read_text("utf-8")
    )
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """The links of `document` that lead nowhere; links to other sites are not followed."""
    wrong = []
    for found in LINK.findall(CODE.sub("", document.read_text("utf-8"))):
        link = found[0] or found[1]
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, `quoted`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-heading-quoted) [c](gone.md) [d](there.md#no) [e](https://x.invalid)\n"
    )
    assert broken(page) == ["gone.md", "there.md#no"]


def said(node: ast.AST) -> Iterator[str]:
    """Every text in a module, with NUL where a value is put in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from said(child)


def unsaid(document: str) -> list[str]:
    """The lines of a document's ```text blocks that no source says; `…` stands for anything."""
    texts = {
        line
        for path in ROOT.glob("lepton_jupyter/**/*.py")
        for text in said(ast.parse(path.read_text("utf-8")))
        for line in text.splitlines()
    }
    texts |= {line for path in ROOT.glob("labextension/src/*.ts") for line in path.read_text("utf-8").splitlines()}
    quoted = [line for block in re.findall(r"^```text\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
              for line in block.splitlines()]  # fmt: skip
    forms = {line: re.compile(".+".join(re.escape(part.strip()) for part in line.split("…"))) for line in quoted}
    return [line for line, form in forms.items() if not any(form.search(text) for text in texts)]


def test_quoted_messages_are_those_of_the_code() -> None:
    document = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert len(re.findall(r"^```text", document, re.MULTILINE)) >= 15
    assert unsaid(document) == []
    assert unsaid("```text\n… is not known yet; its … key\nnobody … says this\n```\n") == ["nobody … says this"]
