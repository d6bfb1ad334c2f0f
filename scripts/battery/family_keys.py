"""Every key of the configuration, found by walking its models, with values that it should not have."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from harness import MARKER, Case, Must
from leaves import BASES, Leaf, all_leaves, put, resolved_once, sections

from spacetime_tps.config import RunConfig
from spacetime_tps.systems import systems_folder

LONG = "x" * 100_000
STRANGE = (
    "blank text",
    "text",
    "long text",
    "unicode",
    "right to left",
    "a line break",
    "NUL",
    "escape",
    "mathtext",
    "percent",
    "a path",
    "a list of mappings",
    "many items",
    "a date",
    "bytes",
    "10**400",
    "-10**400",
    "2**63",
)
FREE = {"seed", "options", "box", "point"}
"""Numbers without a largest value."""


def values_for(leaf: Leaf) -> Iterator[tuple[str, Any, Must]]:
    """(name, value, expectation) of every bad value of a leaf."""
    free = leaf.place[-1] in FREE or "any" in leaf.kinds
    bound: Must = "either" if free else "refuse"
    numeric, texts = leaf.kinds & {"number", "whole"}, leaf.kinds & {"text", "choice"}
    yield "null", None, "either" if leaf.optional or free else "refuse"
    wrong: Must = "either" if "any" in leaf.kinds else "refuse"
    yield "true", True, wrong
    yield "a mapping", {"a": 1}, "either" if "mapping" in leaf.kinds or free else "refuse"
    yield "a list of mappings", [{"a": 1}], wrong
    yield "nested lists", [[[[]]]], wrong
    yield "an empty list", [], "either" if "list" in leaf.kinds or free else "refuse"
    yield "an empty mapping", {}, "either" if "mapping" in leaf.kinds or free else "refuse"
    number: Must = wrong if not numeric else bound
    for name, value in (("nan", float("nan")), ("inf", float("inf")), ("-inf", float("-inf"))):
        yield name, value, wrong if not free or numeric else "either"
    for name, value in (
        ("1e300", 1e300),
        ("-1e300", -1e300),
        ("10**400", 10**400),
        ("-10**400", -(10**400)),
        ("1e30", 10**30),
        ("2**63", 2**63),
    ):
        yield name, value, number
    yield "0.5", 0.5, "refuse" if leaf.kinds == {"whole"} or (not numeric and not free) else "either"
    yield "1e-300", 1e-300, _tiny(leaf, 0) if numeric and not free else number
    for value in (0, -1):
        yield str(value), value, "either" if numeric or free else "refuse"
    empty: Must = "refuse" if not texts and not free else "either"
    for name, text in (
        ("empty text", ""),
        ("blank text", "  "),
        ("text", "nonsense"),
        ("long text", LONG),
        ("unicode", "Ångström μ 水 🧪"),
        ("right to left", "\u202eabc"),
        ("a line break", "a\nb"),
        ("NUL", "a\x00b"),
        ("escape", "\x1b[31mred"),
        ("mathtext", "$\\frac{$"),
        ("percent", "%s %d {0}"),
        ("a path", "../../etc/passwd"),
    ):
        yield name, text, _choice(leaf, empty)
    yield "many items", ["x"] * 20_000, wrong if "list" not in leaf.kinds else "either"
    yield "numeric text", "1e300", _choice(leaf, "refuse" if numeric and not free else "either")
    yield "a date", __import__("datetime").date(2020, 1, 1), wrong
    yield "bytes", b"\x00\xff", _choice(leaf, "either" if texts else wrong)
    if "quantity" in leaf.kinds:
        yield from _quantities(leaf)
    if "list" in leaf.kinds:
        for name, value in (
            ("a list of null", [None]),
            ("a list of nan", [float("nan")] * 2),
            ("a list of text", ["x"]),
            ("a pair of 1e300", [-1e300, 1e300]),
            ("a pair of 10**400", [0, 10**400]),
        ):
            yield name, value, "either"


def _choice(leaf: Leaf, otherwise: Must) -> Must:
    """Text that is none of the choices has to be refused."""
    return "refuse" if leaf.kinds == {"choice"} or leaf.kinds <= {"choice", "whole"} else otherwise


def _quantities(leaf: Leaf) -> Iterator[tuple[str, Any, Must]]:
    for number in ("nan", "inf", "1e300", "-1e300", "1e400", "-1", "1e30"):
        must: Must = "either" if number == "-1" else "refuse"
        yield f"{number} and the unit", f"{number} {leaf.unit}", must
    yield "1e-300 and the unit", f"1e-300 {leaf.unit}", _tiny(leaf, f"0 {leaf.unit}")
    for name, value in (("no unit", "1"), ("another unit", "1 parsec"), ("units alone", leaf.unit), ("two", "1 K 2 K")):
        yield name, value, "refuse"
    yield "0 and the unit", f"0 {leaf.unit}", "either"


def _tiny(leaf: Leaf, zero: Any) -> Must:
    """What is refused at zero is as wrong at 1e-300; where zero has a meaning, nearly zero has it, too."""
    _, settings = resolved_once(leaf.base)
    changed = copy.deepcopy(settings)
    put(changed, leaf.place, zero)
    try:
        RunConfig.model_validate(changed)
    except ValueError:
        return "refuse"
    return "either"


def write_system(box: Path, base: str, text: str) -> None:
    """A system folder ``sys`` with the files of a base and its own ``system.yaml``."""
    (box / "sys").mkdir()
    for file in (systems_folder() / BASES[base][0]).glob("*.pdb"):
        (box / "sys" / file.name).write_bytes(file.read_bytes())
    (box / "sys/system.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")


class _Dumper(yaml.SafeDumper):
    """Without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text_of(settings: dict[str, Any]) -> str:
    """YAML of settings."""
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _value_case(leaf: Leaf, name: str, value: Any, must: Must) -> Case:
    def prepare(box: Path) -> None:
        settings = copy.deepcopy(resolved_once(leaf.base)[1])
        put(settings, leaf.place, value)
        write_system(box, leaf.base, text_of(settings))

    return Case("keys", f"{leaf.shown} = {name}", ("config", "sys"), prepare, must, seconds=20)


def _raw_case(base: str, name: str, change: Any, must: Must = "refuse", words: tuple[str, ...] = ()) -> Case:
    def prepare(box: Path) -> None:
        write_system(box, base, change(text_of(copy.deepcopy(resolved_once(base)[1]))))

    return Case("keys", f"{base}: {name}", ("config", "sys", *words), prepare, must, seconds=20)


def _section_cases(base: str, seen: set[tuple[Any, ...]]) -> Iterator[Case]:
    """Unknown keys in each section, and something else in its place."""
    for place, model in sections(base):
        if (place, model) in seen:
            continue
        seen.add((place, model))
        shown = ".".join(map(str, place)) or "whole"

        def changed(box: Path, place: tuple[Any, ...] = place, key: Any = "xyzzy", value: Any = 1) -> None:
            settings = copy.deepcopy(resolved_once(base)[1])
            put(settings, (*place, key), value)
            write_system(box, base, text_of(settings))

        for key in ("xyzzy", 7, None, True, "a\nb", LONG, "__class__"):
            must: Must = "either" if shown.endswith(("ball", "options")) else "refuse"
            yield Case(
                "keys",
                f"{base}: the key {str(key)[:20]!r} in {shown}",
                ("config", "sys"),
                lambda box, place=place, key=key: changed(box, place, key),
                must,
                seconds=20,
            )
        if not place:
            continue
        for name, value in (("null", None), ("text", "x"), ("a number", 3), ("a list", [1]), ("nothing", {})):
            yield Case(
                "keys",
                f"{base}: {shown} is {name}",
                ("config", "sys"),
                lambda box, place=place, value=value: changed(box, place[:-1], place[-1], value),
                seconds=20,
            )


def _yaml_cases(base: str) -> Iterator[Case]:
    """Texts that are not plain YAML, and ways in which YAML runs code."""
    touch = f"touch {MARKER}"
    tags = {
        "apply os.system": f"!!python/object/apply:os.system ['{touch}']",
        "new": f"!!python/object/new:os.system ['{touch}']",
        "apply eval": f"!!python/object/apply:eval [\"__import__('os').system('{touch}')\"]",
        "name": "!!python/name:os.system",
        "module": "!!python/module:os",
        "tuple": "!!python/tuple [1, 2]",
    }
    for name, tag in tags.items():
        for key in ("name", "system", "seed", "presets"):

            def changed(text: str, key: str = key, tag: str = tag) -> str:
                return f"{_without(text, key)}\n{key}: {tag}\n"

            yield _raw_case(base, f"{name} at {key}", changed)
        yield _raw_case(base, f"{name} by --set", lambda text: text, "refuse", ("--set", f"name={tag}"))
    texts = {
        "nothing": "",
        "null": "null\n",
        "a list": "- 1\n",
        "a word": "word\n",
        "NUL": "name: a\0b\n",
        "a tab": "\tname: x\n",
        "two documents": "name: a\n---\nname: b\n",
        "open brackets": "[" * 20_000,
        "deep brackets": "[" * 5000 + "]" * 5000,
        "deep mappings": "{a: " * 3000 + "1" + "}" * 3000,
        "long number": f"seed: {'9' * 5000}\n",
        "binary": "\x7fELF\x00\x01",
        "a BOM": "\ufeffname: x\n",
        "surrogates": "name: \udc80\n",
        "an anchor alone": "a: *b\n",
        "a directive": "%YAML 9.9\n---\nname: x\n",
        "sexagesimal": "seed: 1:60:99\n",
        "a set": "? a\n? b\n",
        "only comments": "# nothing\n",
    }
    for name, content in texts.items():
        yield _raw_case(base, f"the file is {name}", lambda _, content=content: content)
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 9)}]\n" for k in range(9)
    )
    yield _raw_case(base, "a billion laughs", lambda text: text + laughs)
    yield _raw_case(base, "an alias", lambda text: text.replace("seed: 0", "seed: &s 0\ntps: *s", 1))
    yield _raw_case(base, "a merge key", lambda text: text + "<<: {seed: 1}\n")
    yield _raw_case(base, "a key twice", lambda text: text + "seed: 1\n")
    yield _raw_case(base, "a key twice below", lambda text: text.replace("states:\n", "states:\n  a: 1\n", 1))


def _without(text: str, key: str) -> str:
    settings = yaml.safe_load(text)
    settings.pop(key, None)
    return text_of(settings)


def _set_cases(chance: random.Random) -> Iterator[Case]:
    """Malformed assignments, and values by ``--set`` instead of the file."""
    for text in (
        "",
        "=",
        "=1",
        "seed",
        "seed=",
        ".=1",
        "a..b=1",
        "seed.x=1",
        "seed=[",
        "seed=*a",
        "seed=&a 1",
        " =1",
        "states.a.any_of.0.x=1",
        "sampling=1",
        "\n=1",
        "seed=1\nname=x",
        "seed=" + "[" * 5000,
        "name=" + LONG,
        "x." * 3000 + "y=1",
        "seed=!!python/name:os.system",
        "name=\x1b[31m",
        "nämé=1",
        "seed=1=2",
    ):
        yield _raw_case(
            "toy",
            f"--set {text[:30]!r}",
            lambda t: t,
            "either" if text in ("seed=", "seed=&a 1") else "refuse",
            ("--set", text),
        )
    found, _ = all_leaves()
    for leaf in found:
        if any(isinstance(part, int) for part in leaf.place):
            continue
        for name, value in (
            ("nan", ".nan"),
            ("1e300", "1.0e+300"),
            ("10**400", "1" + "0" * 400),
            ("NUL", "\x01"),
            ("a mapping", "{a: 1}"),
        ):
            if chance.random() < 0.4:
                numeric = leaf.kinds & {"number", "whole", "quantity"} and leaf.place[-1] not in FREE
                must: Must = "refuse" if numeric else "either"
                assignment = f"{'.'.join(map(str, leaf.place))}={value}"
                yield _raw_case(leaf.base, f"--set {leaf.shown} = {name}", lambda t: t, must, ("--set", assignment))


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del masters
    found: list[Case] = []
    seen: set[tuple[Any, ...]] = set()
    for base in BASES:
        found.append(_raw_case(base, "as it is", lambda text: text, "accept"))
        found += _yaml_cases(base) if base in ("toy", "metadynamics") else ()
        found += _section_cases(base, seen)
    for leaf in all_leaves()[0]:
        values = list(values_for(leaf))
        if not leaf.kinds & {"text"}:  # strange text is much the same wherever no text belongs
            strange = chance.sample(STRANGE, len(STRANGE) - 2)
            values = [value for value in values if value[0] not in strange]
        found += [_value_case(leaf, *value) for value in values]
    found += _set_cases(chance)
    return found
