"""Pages that are whole and point at nothing outside."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest


class Checker(HTMLParser):
    """Every element is closed in order; images have texts; nothing points outside."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.images = 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "img":
            self.images += 1
            assert values["alt"]
            assert values["src"].startswith("data:image/png;base64,")
        assert "href" not in values
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(path: Path) -> tuple[str, int]:
    text = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "http" not in text
    assert "<script" not in text
    return text, checker.images


@pytest.fixture
def checked() -> Callable[[Path], tuple[str, int]]:
    """Check a page; gives its text and how many pictures it holds."""
    return check
