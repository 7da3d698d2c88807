"""What tests ask of the report's page, parsed from its HTML."""

from bs4 import BeautifulSoup, Tag  # comes with nbconvert


def _text(node: Tag) -> str:
    return " ".join(node.get_text(" ").replace("\u00a0", " ").split())


class Page:
    """Text of a page, cells of its tables, its answers, and attributes of its tags."""

    def __init__(self, html: str) -> None:
        self._soup = BeautifulSoup(html, "html.parser")
        for style in self._soup("style"):
            style.decompose()
        self.text = _text(self._soup)
        self.answers = [_text(answer) for answer in self._soup(class_="answer")]
        self.tables = [
            [[_text(cell) for cell in row(["td", "th"])] for row in table("tr")]
            for table in self._soup("table")
        ]

    @property
    def seeds(self) -> list[list[list[str]]]:
        """The tables of seeds; those of answers stand apart."""
        return [table for table in self.tables if table[0][0] == "Seed"]

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [tag.attrs for tag in self._soup(tags)]
