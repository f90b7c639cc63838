"""Fail where a built page loads something from elsewhere: fonts, scripts, pictures."""

import re
from pathlib import Path

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object|input)\b[^>]*?"""
    r"""\b(?:src|srcset|data)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["'](?:canonical|author|license|search)["'])"""
    r"""[^>]*?\bhref\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(|@import\s+)\s*["']?\s*((?:https?:)?//[^"'\s);]+)""",
    re.IGNORECASE,
)


def loaded_from_elsewhere(text: str) -> list[str]:
    """Return the addresses that a browser asks for when it shows a page or a style sheet.

    >>> loaded_from_elsewhere('<a href="https://a.org">a</a> <script src="//b.org/c.js"></script>')
    ['//b.org/c.js']
    """
    return ["".join(groups) for groups in _LOADED.findall(text)]


def check(app, error):
    """Look through all that was built."""
    pages = [p for p in Path(app.outdir).rglob("*") if p.suffix in (".html", ".css")]
    for page in [] if error else pages:
        if asked := loaded_from_elsewhere(page.read_text("utf-8")):
            name = page.relative_to(app.outdir)
            raise RuntimeError(f"{name}: expected nothing from elsewhere, got {asked[0]}")


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
