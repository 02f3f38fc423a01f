"""YAML that has one reading: what is stated twice, or is one value here and another to DVC, is an error.

PyYAML reads YAML 1.1; DVC, by ruamel.yaml, reads YAML 1.2. A number with an exponent (`1e-4`) is a number here as it is
there; what else the two read differently is to be written in another way.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from shared.errors import PapertrailError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # built without libyaml: the same, but ten times as slow
    from yaml import SafeLoader  # type: ignore[assignment]

FLOAT_TAG = "tag:yaml.org,2002:float"
FLOAT = re.compile(  # as ruamel.yaml has it
    r"""^(?: [-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
           | [-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
           | [-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?
           | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) )$""",
    re.VERBOSE,
)
# To one a word, to the other true or false; or a number in octal, of base 60, or with its digits in groups.
WORD = re.compile("^(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$")
NUMBER = re.compile(
    r"""^(?!_)[-+]?(?: 0o?[0-9_]+
                | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
                | (?=[^_]*_)(?:0b[01_]+|0x[0-9a-fA-F_]+|[0-9_]*\.?[0-9_]+(?:[eE][-+]?[0-9]+)?) )$""",
    re.VERBOSE,
)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML document; PapertrailError names `where`, and line and key of what has not one reading."""
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
        if document is None:
            return None
        _check(document, where, "", set())
        return loader.construct_document(document)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is in no calendar
        raise PapertrailError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
    finally:
        loader.dispose()


class _Loader(SafeLoader):
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag != FLOAT_TAG]
        for first, forms in SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(FLOAT_TAG, FLOAT, list("-+.0123456789"))


def _check(node: yaml.Node, where: str, key: str, seen: set[yaml.Node]) -> None:
    """Refuse what is stated twice or has two readings in a node, whose own key is `key`, and in all below it."""
    if node in seen:
        return
    seen.add(node)  # an alias is the very node that it names, and may stand within it
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for name, value in node.value:
            inner, line = f"{key}.{name.value}".lstrip("."), name.start_mark.line + 1
            own = name.tag, str(name.value)
            if own in lines:
                raise PapertrailError(f"{where}: line {line}: `{inner}` stands in line {lines[own]} too; remove one")
            lines[own] = line
            _check(name, where, inner, seen)
            _check(value, where, inner, seen)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check(child, where, key, seen)
    elif isinstance(node, yaml.ScalarNode) and not node.style:  # plain, without quotes
        place = f"{where}: line {node.start_mark.line + 1}: `{key}`" if key else where
        place += f": readers of YAML take `{node.value}` differently"
        if WORD.match(node.value):
            raise PapertrailError(f"{place}; write true or false, or put the word in quotes")
        if NUMBER.match(node.value):
            raise PapertrailError(f"{place}; write the decimal number without leading zeros, `_` and `:`, or in quotes")
