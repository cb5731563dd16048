"""What stands in a node of YAML: its value as one type, and what an error says of it.

Numbers, booleans and null are read by the patterns below and not by PyYAML; see `parsing`.
"""

import math
import re
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from bnexp.config.schema import INVALID, Value
from bnexp.config.suggestions import shorten, suggestion

# What type a node's value has: bool, int, float, str, None, a Literal of texts, tuple[item, ...],
# or a union of these, each perhaps Annotated with rules. Or it is a dict: then the node is a map,
# and the dict gives the type of each key's value, or that of every key under ANY.
Hint = Any

NULL, _TEXT = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")  # as in 50,000
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NOUNS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
_NOUNS[NoneType] = "null"

origin: Callable[[Hint], Any] = get_origin


def shown(node: yaml.Node) -> str:
    """What was found, as an error says it."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a map"
    text = shorten(node.value)
    return f"'{text}'" if node.style else text or "nothing"


def scalar(node: yaml.Node, option: Hint) -> Value:
    """The value of a scalar node as one type, or `INVALID`."""
    if not isinstance(node, yaml.ScalarNode):
        return INVALID
    if option is str:
        is_text = node.style or (node.tag == _TEXT and not _NUMBER.fullmatch(node.value))
        return node.value if is_text else INVALID
    if node.value in get_args(option):  # the texts of a Literal
        return node.value
    return INVALID if node.style else _unquoted(node, option)


def _unquoted(node: yaml.ScalarNode, option: Hint) -> Value:
    """The number, boolean or null that stands in a scalar node without quotes, or `INVALID`."""
    text: str = node.value
    if option is float and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if option is int and _WHOLE.fullmatch(text):
        return int(text[:30])  # Python refuses to read thousands of digits; no key allows so many
    if option is bool and text in {"true", "false"}:
        return text == "true"
    return None if option is NoneType and node.tag == NULL else INVALID


def mismatch(node: yaml.Node, types: list[Hint], override: str = "") -> str:
    """What a node should have been, what it is, and what to write instead if that can be told.

    Args:
        node: whose value is none of the types.
        types: which were possible.
        override: the dotted key, where the node comes from the command line.
    """
    advice, number = "", scalar(node, float)
    plain = isinstance(node, yaml.ScalarNode) and not node.style and node.value
    if plain and (instead := _instead(node.value, types, override)):
        return f"{_expected(types)}, got {shown(node)}; write {instead}"
    for option in types:
        if origin(option) is Literal:
            advice = suggestion(str(node.value), get_args(option))
    if int in types and number is not INVALID and number.is_integer() and abs(number) < 1e15:
        advice = f"; write {number:.0f}"
    elif str in types and isinstance(node, yaml.ScalarNode) and node.value:
        advice = "; put it in quotes"
    return f"{_expected(types)}, got {shown(node)}{advice}"


def _instead(text: str, types: list[Hint], override: str) -> str:
    """What to write in place of a text with the commas or underscores of a number or a list."""
    parts = text.replace(" ", "").split(",")
    for option in types:
        pattern = _WHOLE if _item(option) is int else _NUMBER
        if origin(option) is tuple and all(map(pattern.fullmatch, parts)):
            # In quotes, since some shells read brackets themselves.
            return f"'{override}=[{','.join(parts)}]'" if override else f"[{', '.join(parts)}]"
    if not {int, float} & {*types}:
        return ""
    plain = text.replace("_", "")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    if plain != text and _NUMBER.fullmatch(plain):
        return plain
    if len(parts) < 2 or not all(map(_NUMBER.fullmatch, parts)):
        return ""
    grid = f"--grid {override.removeprefix('grid.') or 'KEY'}={','.join(parts)} to train with each"
    point = ".".join(parts)  # 0,2 as many countries write 0.2
    return f"{point}, or {grid}" if float in types and _NUMBER.fullmatch(point) else grid


def _item(option: Hint) -> Hint:
    """The type of a list's items, without its rules."""
    items = get_args(option)
    return getattr(items[0], "__origin__", items[0]) if items else None


def _expected(types: list[Hint]) -> str:
    """What a node should have been, such as `expected a whole number or null`."""
    wanted = []
    for option in types:
        if origin(option) is Literal:
            wanted.append(f"one of {', '.join(get_args(option))}")
        elif origin(option) is tuple:
            noun = _NOUNS.get(_item(option), "value").removeprefix("a ")
            wanted.append(f"a list of {noun}s")
        else:
            wanted.append(_NOUNS[option])
    return f"expected {' or '.join(wanted)}"
