"""A page as a tree, so that a test can ask what stands where."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "input", "br", "base", "hr"}


@dataclass(eq=False)
class Node:
    """One element."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Node | str]" = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        """All words in it, runs of white space as one space."""
        return " ".join("".join(self._words()).split())

    def all(self, tag: str = "", *, cls: str = "", element_id: str = "") -> "list[Node]":
        """Every element below this one that fits, in order."""
        return [
            node
            for node in self._below()
            if (not tag or node.tag == tag)
            and (not cls or cls in node.classes)
            and (not element_id or node.attributes.get("id") == element_id)
        ]

    def one(self, tag: str = "", *, cls: str = "", element_id: str = "") -> "Node":
        found = self.all(tag, cls=cls, element_id=element_id)
        assert len(found) == 1, f"{len(found)} of {tag}.{cls}#{element_id}"
        return found[0]

    def _below(self) -> "Iterator[Node]":
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child._below()

    def _words(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, Node):
                yield from child._words()
            else:
                yield child


def tree(html: str) -> Node:
    parser = _Builder()
    parser.feed(html)
    parser.close()
    return parser.root


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while len(self._open) > 1 and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)
