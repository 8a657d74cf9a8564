"""Parsers for YAML and XML from untrusted sources: plain values, no aliases, no entities.

Every YAML text that hypercover reads goes through here: experiments, site files, class
tables, feature chains and values on the command line.
"""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import yaml

from hypercover.errors import SceneError

_MAX_XML_BYTES = 16 * 2**20
"""Bytes of a product's metadata; those of EnMAP have about one million."""

_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")


def unreadable(path: Path, error: OSError) -> SceneError:
    """Return the error of a file that cannot be read."""
    return SceneError(f"{path} cannot be read: {error.strerror}; check its permissions.")


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of at most this many bytes.

    Raises
    ------
    SceneError
        If it is larger or cannot be read.
    """
    try:
        # The size of a device says nothing.
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > max_bytes:
        raise SceneError(
            f"{path} is larger than {max_bytes // 2**20} MiB; give the file of the product."
        )
    return content


_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def decode_text(raw: bytes, errors: str = "strict") -> tuple[str, bool]:
    """Decode text as programs save it, and tell whether it is plain UTF-8.

    It may be UTF-8 or UTF-16, with or without a byte order mark, or else Windows-1252.

    Raises
    ------
    UnicodeDecodeError
        If it is none of these, and errors are strict.
    """
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), None)
    if encoding is None and raw[:2].count(0) == 1:
        encoding = "utf-16-be" if raw[0] == 0 else "utf-16-le"
    if encoding is not None:
        return raw.decode(encoding, errors), False
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors), False


def parse_xml(path: Path) -> ET.Element:
    """Parse an XML file, refusing document types and entities.

    An entity can name a file or an address, or expand to gigabytes.

    Raises
    ------
    SceneError
        If the file is too large, has a document type, or is not XML.
    """
    try:
        text = read_bounded(path, _MAX_XML_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SceneError(f"{path} cannot be read as XML; copy it again.") from error
    return parse_xml_text(text, path)


def parse_xml_text(text: str, source: object) -> ET.Element:
    """Parse XML as :func:`parse_xml` does; the source is named in errors."""
    if _DECLARATION.search(text):
        raise SceneError(
            f"{source} declares a document type or entities, which can point to other files "
            "and are never followed; give the file that came with the product."
        )
    try:
        return ET.fromstring(text)  # noqa: S314  (small, and no DTD or entity is in it)
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise SceneError(
            f"{source} is not XML: it is damaged or cut short; copy or download it again."
        ) from error


_WHOLE = re.compile(r"[+-]?\d{1,9}([.,]0*)?", re.ASCII)


def whole_number(text: str) -> int | None:
    """Read a whole number, which programs may write as 1.0 or 1,0; None for other text.

    Examples
    --------
    >>> [whole_number(text) for text in ("10", "1.0", "07", "A1", "-3", "1.5")]
    [10, 1, 7, None, -3, None]
    """
    return int(re.split("[.,]", text)[0]) if _WHOLE.fullmatch(text) else None


_TAG = "tag:yaml.org,2002:"

_SCALARS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str"))
"""Types that a value may have; sets, pairs, dates and Python objects are refused."""
_TAGS: dict[Any, set[str]] = {
    yaml.MappingNode: {f"{_TAG}map"},
    yaml.SequenceNode: {f"{_TAG}seq"},
}


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases and duplicate keys.

    Aliases can expand until they fill any memory, and YAML silently drops the first of two
    equal keys.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias and a value that is not plain, and compose everything else."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not allowed; write out its value")
        node = super().compose_node(parent, index)
        if node is not None and node.tag not in _TAGS.get(type(node), _SCALARS):
            kind = str(node.tag).removeprefix(_TAG)[:40]
            raise yaml.MarkedYAMLError(
                problem=f"a value of the YAML type {kind!r} is not allowed; write a text in "
                "quotes, a number, true, false, a list or a mapping",
                problem_mark=node.start_mark,
            )
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse duplicate keys, and read the key ``on`` as text, not as a boolean."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise yaml.MarkedYAMLError(
                problem=f"the key {repeated[0][:60]} occurs twice",
                problem_mark=node.start_mark,
            )
        for key, _ in node.value:
            if key.tag == f"{_TAG}bool":
                key.tag = f"{_TAG}str"
        return super().construct_mapping(node, deep)


# Dates are read as text, as in JSON.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != f"{_TAG}timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values, without aliases and duplicate keys.

    Raises
    ------
    yaml.YAMLError
        If the text is anything else.

    Examples
    --------
    >>> parse_yaml("{models: {svm: {C: 10}}, on: 2026-11-30}")
    {'models': {'svm': {'C': 10}}, 'on': '2026-11-30'}
    """
    loader = _PlainLoader(text)
    try:
        return loader.get_single_data()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # An explicit type that does not fit its value, such as !!bool x.
        raise yaml.YAMLError(f"a value cannot be read ({str(error)[:100]})") from None
    finally:
        loader.dispose()


def yaml_problem(error: yaml.YAMLError) -> str:
    """Describe the error in a text on one line, with its place.

    Examples
    --------
    >>> try:
    ...     parse_yaml("a: !!set {b}")
    ... except yaml.YAMLError as error:
    ...     print(yaml_problem(error).partition(";")[0].strip())
    at line 1: a value of the YAML type 'set' is not allowed
    """
    where = getattr(error, "problem_mark", None)
    line = f" at line {where.line + 1}" if where else ""
    problem = " ".join((getattr(error, "problem", None) or str(error)).split())
    return f"{line}: {problem[:200]}"
