"""XML of strangers as a tree, bounded in size and depth, without document types and entities."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

MOST_BYTES = 256 * 2**20
"""A System of a million atoms."""
_DEEPEST = 16
"""Serialised Systems need 10, where forces stand in forces."""
_LONGEST = 2**16
"""Characters of an attribute."""


def read_tree(file: Path) -> Element:
    """Read a file once and parse it.

    The text is decoded before it is looked at and parsed: no declaration in it can make two encodings of it.

    Raises:
        ValueError: it is too large or nested too deeply, is not UTF-8 or XML, or declares a document type, by which a
            parser can be made to read other files or to grow without end.
    """
    with file.open("rb") as handle:
        content = handle.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares a document type or an entity, which is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not a complete XML document: {error}") from error
    _check_shape(root)
    return root


def _check_shape(root: Element) -> None:
    """Level by level, since whatever recurses over the tree later would fail on a deep one."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"its elements are nested deeper than {_DEEPEST} levels")
        for element in level:
            if any(len(value) > _LONGEST for value in element.attrib.values()):
                raise ValueError(f"an attribute of <{shown(element)}> is longer than {_LONGEST} characters")
        level = [child for element in level for child in element]


def text_of(root: Element) -> str:
    """The tree as XML again: what was checked, and nothing beside it."""
    return ElementTree.tostring(root, encoding="unicode")


def shown(element: Element) -> str:
    """The name of an element for a message: printable and short."""
    return "".join(c if c.isprintable() else "?" for c in str(element.tag))[:60]
