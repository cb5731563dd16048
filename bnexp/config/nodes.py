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


def mismatch(node: yaml.Node, types: list[Hint]) -> str:
    """What a node should have been, what it is, and what to write instead if that can be told."""
    advice, number = "", scalar(node, float)
    if isinstance(node, yaml.ScalarNode) and number is INVALID and not node.style:
        plain = node.value.replace("_", "").replace(",", "")
        if plain != node.value and _NUMBER.fullmatch(plain) and {int, float} & {*types}:
            return f"{_expected(types)}, got {shown(node)}; write {plain}"
    for option in types:
        if origin(option) is Literal:
            advice = suggestion(str(node.value), get_args(option))
    if int in types and number is not INVALID and number.is_integer() and abs(number) < 1e15:
        advice = f"; write {number:.0f}"
    elif str in types and isinstance(node, yaml.ScalarNode) and node.value:
        advice = "; put it in quotes"
    return f"{_expected(types)}, got {shown(node)}{advice}"


def _expected(types: list[Hint]) -> str:
    """What a node should have been, such as `expected a whole number or null`."""
    wanted = []
    for option in types:
        if origin(option) is Literal:
            wanted.append(f"one of {', '.join(get_args(option))}")
        elif origin(option) is tuple:
            item: Any = getattr(get_args(option)[0], "__origin__", None)
            wanted.append(f"a list of {_NOUNS.get(item, 'value').removeprefix('a ')}s")
        else:
            wanted.append(_NOUNS[option])
    return f"expected {' or '.join(wanted)}"
