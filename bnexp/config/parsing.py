"""YAML text to typed values, each mistake with its place.

PyYAML composes the text into nodes, which know their line and column. The values are read from the
nodes here, by type hints. PyYAML's own constructors are never called: they make Python objects of
tags, and they read `1e-3` as text, `no` as false and `1:30` as 90.
"""

import io
import re
from collections.abc import Mapping
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Union, get_args

import yaml
from yaml.composer import Composer

try:
    from yaml import CSafeLoader as Quick
except ImportError:  # PyYAML was built without LibYAML
    from yaml import SafeLoader as Quick  # type: ignore[assignment]

from bnexp.config.nodes import NULL, Hint, mismatch, origin, scalar, shown
from bnexp.config.rules import repeated, violation
from bnexp.config.schema import HINTS, INVALID, Value
from bnexp.config.suggestions import did_you_mean, nearest, shorten, suggestion

ANY = "*"  # in a dict of types: any key
_EMPTY = "empty; `bnexp configs quickstart` prints a config to begin with"
_MAX_DEPTH = 20  # of lists and maps inside each other


class _Composer(Composer):
    """Refuses what an experiment has no use for and what can do harm.

    Tags make objects. Aliases can stand for each other, so that ten lines expand to gigabytes.
    Deep nesting exhausts Python's stack.
    """

    depth = 0  # of the node that is composed

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[attr-defined]
        problem = None
        if event.anchor:
            problem = f"anchors and aliases ('{shorten(event.anchor)}') are not read"
        elif tag := getattr(event, "tag", None):
            problem = f"tags ('{shorten(tag)}') are not read"
        elif self.depth >= _MAX_DEPTH:
            problem = f"nested deeper than {_MAX_DEPTH} levels"
        if problem:
            problem += "; write plain values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(_Composer, yaml.SafeLoader):
    """Says what is wrong with a text, and where."""


class _QuickLoader(_Composer, Quick):
    """Composes a text without a mistake several times faster, if PyYAML was built with LibYAML."""

    def __init__(self, text: str, name: str) -> None:
        stream = io.StringIO(text)
        stream.name = name  # the nodes' marks have it
        Quick.__init__(self, stream)
        Composer.__init__(self)

    def compose_scalar_node(self, anchor: dict[str, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if not node.value and not node.style:
            raise yaml.YAMLError("LibYAML gives a missing value another place than PyYAML")
        return node


def _composed(text: str, name: str) -> yaml.Node | None:
    """The root node of a text; `None` where `_Loader` may have a mistake to tell."""
    with suppress(yaml.YAMLError, UnicodeError):
        return _QuickLoader(text, name).get_single_node()
    return None


class Reader:
    """Reads nodes as values and goes on after a mistake.

    Attributes:
        mistakes: what is wrong, one line each.
        nodes: the node of each value that was read, by its dotted path.
        names: the node of the key that each path ends in.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.nodes: dict[str, yaml.Node] = {}
        self.names: dict[str, yaml.Node] = {}
        self._overrides: set[str] = set()

    def report(self, path: str, problem: str, node: yaml.Node | None = None) -> None:
        """Add a mistake as `place: path: problem`.

        The place is that of `node`, or else that of the value that was read at the path.
        """
        place, shown = self._place(node or self.nodes[path]), map(shorten, path.split("."))
        self.mistakes.append(": ".join(filter(None, (place, ".".join(shown), problem))))

    def overridden(self, path: str) -> bool:
        """Whether the value at a path comes from an override."""
        return path in self.nodes and self.nodes[path].start_mark.name in self._overrides

    def _place(self, node: yaml.Node) -> str:
        mark = node.start_mark
        if mark.name in self._overrides:
            return mark.name  # it holds the override's whole text
        return f"{mark.name}:{mark.line + 1}:{mark.column + 1}"

    def compose(self, text: str, name: str) -> yaml.Node | None:
        """The root node of a text that is one YAML document, or `None` after a mistake."""
        if fast := _composed(text, name):
            return fast
        mark, problem = yaml.Mark(name, 0, 0, 0, None, 0), _EMPTY
        try:
            loader = _Loader(text)
            loader.name = name
            if node := loader.get_single_node():
                return node
        except yaml.reader.ReaderError as error:
            before, bad = text[: error.position], text[error.position]
            mark.line, mark.column = before.count("\n"), len(before.rpartition("\n")[2])
            problem = f"character {bad!a} is not allowed"
            if "\udc80" <= bad <= "\udcff":  # "surrogateescape" makes these of bytes beyond UTF-8
                problem = f"not UTF-8 (byte 0x{ord(bad) - 0xDC00:02x})"
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or mark
            problem = ", ".join(filter(None, (error.context, error.problem)))
            problem += "; YAML is indented with spaces, not tabs" if r"'\t'" in problem else ""
        except (ValueError, OverflowError):  # a code point beyond Unicode, as in "\UFFFFFFFF"
            mark, problem = loader.get_mark(), "no such character"
        self.report("", problem, yaml.ScalarNode("", "", mark))
        return None

    def override(self, root: yaml.Node, text: str, name: str) -> None:
        """Set one value in a tree of nodes, given as `key.path=value`.

        The text is walked key by key from the root down, and maps that are not there yet are made.
        The new nodes carry `name` as their place, so that a mistake in them names the override.
        """
        self._overrides.add(name)
        mark = yaml.Mark(name, 0, 0, 0, None, 0)
        if "=" not in text:
            more = "; a config is given already" if text.endswith(".yaml") else ""
            return self.report("", f"expected key.path=value{more}", yaml.ScalarNode("", "", mark))
        node, path, end, rest = root, "", ".", text
        while end == ".":
            known = [str(key.value) for key, _ in node.value]
            # A variant's name may hold dots and "=", so the longest key that fits is tried first.
            fitting = [key for key in known if rest.startswith((f"{key}.", f"{key}="))]
            # The keys of a grid are dotted themselves: grid.model.norm=[none, batch].
            first = re.split("=" if path == "grid" else "[.=]", rest, maxsplit=1)[0]
            key = max(fitting, key=len, default=first)
            end, rest = rest[len(key) : len(key) + 1], rest[len(key) + 1 :]
            parent, path = path, f"{path}.{key}" if path else key
            new = yaml.ScalarNode("", key, mark)
            if parent == "variants" and key not in known:
                hint = suggestion(key, known) or f"; there are {', '.join(map(shorten, known))}"
                return self.report(path, f"no such variant{hint}", new)
            if not end:  # as in `variants.a=b`, where `a=b` is the name of a variant
                return self.report("", "expected key.path=value", new)
            at = [*known, key].index(key)
            named, child = [*node.value, (new, None)][at]
            if end == "=" and not rest.strip():
                return self.report(path, "no value; write one after the =", new)
            if end == "=":
                child = self.compose(rest, name)
            elif child is None or child.tag == NULL:
                child = yaml.MappingNode("", [], mark)
            elif not isinstance(child, yaml.MappingNode):
                return self.report(path, f"holds {shown(child)}, no keys", new)
            if child:
                node.value[at : at + 1] = [(named, child)]
                node = child
        return None

    def value(self, node: yaml.Node, hint: Hint, path: str = "") -> Value:
        """The value of a node as its type hint says, with lists as tuples.

        After a mistake, which is reported, it is `INVALID`.
        """
        self.nodes[path] = node
        if isinstance(hint, dict):
            return self._map(node, hint, path)
        members = get_args(hint) if origin(hint) in (Union, UnionType) else (hint,)
        options = [get_args(h) if origin(h) is Annotated else (h,) for h in members]
        for option, *rules in options:
            value = scalar(node, option)
            if isinstance(node, yaml.SequenceNode) and origin(option) is tuple:
                item, items = get_args(option)[0], enumerate(node.value)
                value = tuple(self.value(child, item, f"{path}[{i}]") for i, child in items)
                if INVALID in value:
                    return INVALID
            if value is not INVALID:
                if problem := violation(rules, value):
                    got = f", got {shown(node)}" if isinstance(node, yaml.ScalarNode) else ""
                    if isinstance(value, tuple) and (again := repeated(value)):
                        got = f"; {shorten(again)} is repeated"
                    self.report(path, f"{problem}{got}")
                return INVALID if problem else value
        override = path if self.overridden(path) else ""
        self.report(path, mismatch(node, [option for option, *_ in options], override))
        return INVALID

    def _map(self, node: yaml.Node, hints: Mapping[str, Hint], path: str) -> dict[str, Any]:
        """The values of a map by key; none where nothing follows the colon, as in `model:`."""
        if not isinstance(node, yaml.MappingNode) and node.tag != NULL:
            self.report(path, f"expected a map (key: value), got {shown(node)}")
        values: dict[str, Any] = {}
        for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
            name = str(key.value)
            here = f"{path}.{name}" if path else name
            if not isinstance(key, yaml.ScalarNode):
                self.report(path, f"expected a key, got {shown(key)}", key)
            elif name in values:
                first = self._place(self.names[here])
                self.report(here, f"duplicate key; first given at {first}", key)
                kept = self.nodes[here]
                self.value(child, hints.get(name, hints.get(ANY)), here)  # for its own mistakes
                self.nodes[here] = kept
            elif name in hints or ANY in hints:
                self.names[here] = key
                if ANY in hints:
                    self.value(key, str, here)
                values[name] = self.value(child, hints.get(name, hints.get(ANY)), here)
            else:
                whole = key.start_mark.name in self._overrides and path not in {"", "grid"}
                place = f"{path}." if whole else ""  # as it was written
                self.report(here, f"unknown key{_key_advice(name, hints, place)}", key)
        return values


def _key_advice(name: str, hints: Mapping[str, Hint], place: str) -> str:
    """What may have been meant by a key that is not there; `place` is what stands before it."""
    elsewhere = [dotted for dotted in HINTS if dotted.endswith(f".{name}")]
    if elsewhere:
        return did_you_mean(elsewhere[0])
    if near := nearest(name.lower(), hints):
        return did_you_mean(f"{place}{near}")
    return f"; expected one of {', '.join(hints)}"
