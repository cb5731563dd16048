"""YAML text to typed values, each mistake with its place.

PyYAML composes the text to nodes, which know their line and column. Values are read from the nodes
here, by type hints; PyYAML's constructors, which make objects, are never called. They also take
`1e-3` for text, `no` for false and `1:30` for 90.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml

# bool, int, float, str, None, Literal of texts, tuple[item, ...] or a union; each may be Annotated
# with rules: functions that return the problem of a value, or None.
Hint = Any
Place = Callable[[int, int], str]  # the text of a place, from line and column counted from 0

INVALID: Any = object()  # read from a node with a mistake, which is then in `Reader.mistakes`
_MISFIT: Any = object()  # the node is no value of the type

_MAX_DEPTH = 20
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NULL, _TEXT = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_NOUNS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


class Entry(NamedTuple):
    """One `key: value` of a map."""

    key: yaml.Node
    value: yaml.Node


class _Loader(yaml.SafeLoader):
    """Composes nodes, where the `name` of each mark is its whole place: `file:line:column`.

    Refuses what an experiment has no use for: tags, which make objects; anchors and aliases, whose
    expansion has no bound; deep nesting, which exhausts Python's stack.
    """

    def __init__(self, text: str, place: Place) -> None:
        self.place = place
        self.depth = 0
        super().__init__(text)

    def get_mark(self) -> yaml.Mark:
        mark = super().get_mark()
        mark.name = self.place(mark.line, mark.column)
        return mark

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        problem = ""
        if event.anchor:
            problem = f"anchors and aliases ('{shorten(event.anchor)}') are not read"
        elif getattr(event, "tag", None):
            problem = f"tags ('{shorten(event.tag)}') are not read"
        elif self.depth == _MAX_DEPTH:
            problem = f"nested deeper than {_MAX_DEPTH} levels"
        if problem:
            problem += "; write plain values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Reader:
    """Reads nodes as values, and goes on after a mistake: all end up in `mistakes`.

    Args:
        homes: the dotted path of each key, to suggest where one belongs that is out of place.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self.homes = homes
        self.mistakes: list[str] = []

    def report(self, node: yaml.Node, path: str, problem: str) -> None:
        """Add a mistake, as `place: path: problem`."""
        self.mistakes.append(": ".join(filter(None, (node.start_mark.name, path, problem))))

    def compose(self, text: str, place: Place) -> yaml.Node | None:
        """The root node of a text that is one YAML document, or None after a mistake."""
        try:
            loader = _Loader(text, place)
            node = loader.get_single_node()
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            where = place(before.count("\n"), len(before) - before.rfind("\n") - 1)
            said = f"character {text[error.position]!a} is not allowed"
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = mark.name if mark else place(0, 0)
            said = ", ".join(filter(None, (error.context, error.problem)))
            said += "; YAML is indented with spaces, not tabs" if r"'\t'" in said else ""
        except (ValueError, OverflowError):  # a code point beyond Unicode, as in "\UFFFFFFFF"
            where, said = loader.get_mark().name, "no such character"
        else:
            if node is not None:
                return node
            where, said = place(0, 0), "empty; nothing is set here"
        self.mistakes.append(f"{where}: {said}")
        return None

    def entries(self, node: yaml.Node, path: str, known: Iterable[str] = ()) -> dict[str, Entry]:
        """The entries of a map by key, in order; of nothing at all (`model:`), none.

        Args:
            node: what should be a map.
            path: its dotted path, "" at the top.
            known: the keys it may have; any if empty.
        """
        found: dict[str, Entry] = {}
        known = list(known)
        if is_null(node):
            return found
        if not isinstance(node, yaml.MappingNode):
            self.report(node, path, f"expected a map (key: value), got {shown(node)}")
            return found
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.report(key, path, f"expected a key, got {shown(key)}")
                continue
            here = join(path, shorten(key.value))
            if key.value in found:
                first = found[key.value].key.start_mark.name
                self.report(key, here, f"duplicate key; first given at {first}")
            elif known and key.value not in known:
                home = self.homes.get(key.value)
                near = f"; did you mean '{home}'?" if home else suggestion(key.value, known)
                near = near or f"; expected one of {', '.join(known)}"
                self.report(key, here, f"unknown key{near}")
            else:
                found[key.value] = Entry(key, value)
        return found

    def value(self, node: yaml.Node, hint: Hint, path: str) -> Any:  # noqa: ANN401
        """The value of a node as the type hint says, lists as tuples; INVALID after a mistake."""
        options = list(_options(hint))
        for option, rules in options:
            value = self._fitted(node, option, path)
            if value is _MISFIT:
                continue
            problem = value is not INVALID and next(filter(None, (r(value) for r in rules)), None)
            if problem:
                got = f", got {shown(node)}" if isinstance(node, yaml.ScalarNode) else ""
                self.report(node, path, f"{problem}{got}")
            return INVALID if problem else value
        wanted = " or ".join(_described(option) for option, _ in options)
        advice = _advice(node, [option for option, _ in options])
        self.report(node, path, f"expected {wanted}, got {shown(node)}{advice}")
        return INVALID

    def _fitted(self, node: yaml.Node, option: Hint, path: str) -> Any:  # noqa: ANN401
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, option)
        if isinstance(node, yaml.SequenceNode) and _origin(option) is tuple:
            hint, children = get_args(option)[0], enumerate(node.value)
            items = tuple(self.value(child, hint, f"{path}[{i}]") for i, child in children)
            return INVALID if INVALID in items else items
        return _MISFIT


def join(path: str, key: str) -> str:
    """The dotted path of a key."""
    return f"{path}.{key}" if path else key


def is_null(node: yaml.Node) -> bool:
    """Whether a node says nothing: `model:`, or null."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def put(node: yaml.MappingNode, key: str, value: yaml.Node) -> None:
    """Set an entry of a map; its key gets the place of the value."""
    at = [old.value for old, _ in node.value]
    index = at.index(key) if key in at else len(at)
    node.value[index : index + 1] = [(yaml.ScalarNode(_TEXT, key, value.start_mark), value)]


def shorten(text: str) -> str:
    """The text as it can stand in an error: printable, at most 60 characters."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` with the nearest of the known words, or nothing."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return f"; did you mean '{close[0]}'?" if close else ""


def shown(node: yaml.Node) -> str:
    """What was found, in an error."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a map"
    text = shorten(node.value)
    return f"'{text}'" if node.style else text or "nothing"


def _origin(hint: Hint) -> object:
    return get_origin(hint)


def _options(hint: Hint) -> Iterator[tuple[Hint, tuple[Callable[[Any], str | None], ...]]]:
    """The members of a union, each with its rules."""
    if _origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            yield from _options(option)
    elif _origin(hint) is Annotated:
        yield hint.__origin__, hint.__metadata__
    else:
        yield hint, ()


def _scalar(node: yaml.ScalarNode, option: Hint) -> Any:  # noqa: ANN401, PLR0911
    text: str = node.value
    if _origin(option) is Literal:
        return text if text in get_args(option) else _MISFIT
    if option is str:
        is_text = node.style or (node.tag == _TEXT and not _NUMBER.fullmatch(text))
        return text if is_text else _MISFIT
    if node.style:  # quoted
        return _MISFIT
    if option is NoneType and node.tag == _NULL:
        return None
    if option is bool and text in ("true", "false"):
        return text == "true"
    if option is int and _INTEGER.fullmatch(text):
        return int(text[:30])  # Python refuses to read thousands of digits; no key allows so many
    if option is float and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return _MISFIT


def _described(option: Hint) -> str:
    if _origin(option) is Literal:
        return f"one of {', '.join(get_args(option))}"
    if _origin(option) is tuple:
        item, _ = next(_options(get_args(option)[0]))
        return f"a list of {_NOUNS[item].removeprefix('a ')}s"
    return "null" if option is NoneType else _NOUNS[option]


def _advice(node: yaml.Node, options: list[Hint]) -> str:
    """What to write instead, where that can be told."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    number = _scalar(node, float)
    if int in options and number is not _MISFIT and number.is_integer() and abs(number) < 1e15:
        return f"; write {number:.0f}"
    if str in options and node.value:
        return "; put it in quotes"
    words = [word for option in options if _origin(option) is Literal for word in get_args(option)]
    return suggestion(node.value, words)
