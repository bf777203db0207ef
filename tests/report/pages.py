"""Reads a page back with the standard library's parser."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input"}


class ReadPage(HTMLParser):
    """A page's sections, pictures, links, headings and text; ValueError where tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.ids: set[str] = set()
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        if self._open:
            raise ValueError(f"never closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "img":
            self.images.append(given)
        self.links += [given[key] for key in ("href",) if key in given]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise ValueError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open[-1] != "style":
            self.words.append(data.strip())
            if self._open[-1] in ("h1", "h2", "h3"):
                self.headings.append(data.strip())

    @property
    def text(self) -> str:
        """All visible text."""
        return " ".join(self.words)


def check_self_contained(html: str) -> ReadPage:
    """Read the page; assert that nothing in it points outside and that pictures are described."""
    page = ReadPage(html)
    assert "://" not in html and "@import" not in html and "<script" not in html
    assert all(image["src"].startswith("data:image/") for image in page.images)
    assert all(image["alt"] and int(image["width"]) > 0 for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    return page
