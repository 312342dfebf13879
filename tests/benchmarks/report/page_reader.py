"""A page parsed strictly enough to find what would be wrong with it in a browser."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "wbr", "link", "hr", "input"}
LOADS = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")


class Page(HTMLParser):
    """Elements in order with their attributes, text, and problems of structure."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.problems, self.words = [], [], [], []
        self.source = text
        self.feed(text)
        self.close()
        self.problems += ["never closed: %s" % tag for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append("%s closed at %s" % (tag, self.getpos()))
        if tag not in ("code", "a", "b"):
            self.words.append(" ")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def outside(self):
        """What the page would fetch or run."""
        found = [
            tag for tag, _ in self.elements if tag in ("script", "link", "iframe", "object", "base")
        ]
        for _, attributes in self.elements:
            for name, value in attributes.items():
                if name in LOADS and not re.match(r"#|data:image/", value or ""):
                    found.append("%s=%s" % (name, value))
                if name.startswith("on"):
                    found.append(name)
        found += re.findall(r"@import|url\((?!#)[^)]*\)", self.source)
        return found
