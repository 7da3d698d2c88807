"""What tests ask of the report's page, parsed from its HTML."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a test asks of a page: tags with their attributes, tables' cells and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.answers: list[str] = []
        self.facts: list[str] = []
        self._words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self._words).replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append("answer" if ("class", "answer") in attrs else tag)
        if ("class", "answer") in attrs:
            self.answers.append("")
        elif tag == "dd":
            self.facts.append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        # No answer holds another block of its own kind, so the next end of a div is its end.
        names = (tag, "answer") if tag == "div" else (tag,)
        while self._inside and self._inside.pop() not in names:
            pass

    def handle_data(self, data):
        if "style" in self._inside:
            return
        self._words.append(data)
        if "answer" in self._inside:
            self.answers[-1] += f"{data} ".replace("\u00a0", " ")
        if "dd" in self._inside:
            self.facts[-1] += data
        if self._inside and self._inside[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    @property
    def seeds(self):
        """The tables of seeds; those of answers stand apart."""
        return [table for table in self.tables if table[0][0] == "Seed"]

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]
