"""Settings as plain data: read from safe YAML, laid over each other, overridden one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from spacetime_tps.errors import UserError, shortened
from spacetime_tps.inputs import YAML_BYTES, read_text_file

_LONGEST_SHOWN = 200

_DEEPEST = 32
"""Levels of YAML; a system file needs eight."""


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without keys given twice, deep nesting, and aliases, by which a small file can grow without end."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias (*) is not taken here; write it out", mark)
        self._depth += 1
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"settings nest up to {_DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: the file cannot be read, is no safe YAML, or holds no mapping.
    """
    try:
        content = yaml.load(read_text_file(path, largest=YAML_BYTES), Loader=_PlainLoader)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not safe YAML: {_reason(error)}.") from error
    if not isinstance(content, dict):
        found = {type(None): "nothing", list: "a list", str: "text"}.get(type(content), "a single value")
        raise UserError(f"{path} should hold settings, one 'key: value' in each line; it holds {found}.")
    return content


def apply_override(settings: dict[str, Any], assignment: str) -> None:
    """Set one ``KEY=VALUE``, the key dotted (``paths.count=32``), the value YAML.

    Raises:
        UserError: the assignment is malformed or walks through something that is no section.
    """
    key, separator, text = assignment.partition("=")
    shown = shortened(repr(assignment), _LONGEST_SHOWN)
    if not separator or not key.strip():
        raise UserError(f"--set {shown} should read KEY=VALUE, such as paths.count=32.")
    try:
        value = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"--set {shown}: the value is not YAML.") from error
    *sections, last = key.strip().split(".")
    target = settings
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise UserError(f"--set {shown}: {section!r} is a value, not a section.")
    target[last] = value


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _reason(error: Exception) -> str:
    """What is wrong with YAML, in one sentence."""
    if isinstance(error, RecursionError):
        return "its sections lie too deep in each other"
    if type(error) is ValueError and "digits" in str(error):
        return "it holds a number of thousands of digits"
    return shortened(" ".join(str(error).split()).rstrip("."), 5 * _LONGEST_SHOWN)
