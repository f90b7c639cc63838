"""Set the type and the default beside each parameter of a text, as the code has them.

The texts of this package are in numpydoc's form and leave types to the annotations. Parameters that
are described together get a line each. Texts of settings get tables of their fields.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, get_type_hints

from pydantic import BaseModel
from sphinx.util.typing import stringify_annotation

from microscopygan.settings import Settings, make_settings

_NAMES = re.compile(r"^\*{0,2}\w+(, \*{0,2}\w+)*$")
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "a multiple of"}


def type_text(annotation: Any) -> str:
    """Return a type as one writes it, without the modules that its parts come from.

    >>> type_text(dict[str, float] | None)
    'dict[str, float] | None'
    """
    text = stringify_annotation(annotation, "fully-qualified-except-typing", short_literals=True)
    text = re.sub(r"(?<![\w'])(?:\w+\.)+(?=\w)", "", text)
    return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)


def described(obj: Any) -> dict[str, dict[str, str]]:
    """Return ``type, default`` by section and by the name of each parameter or attribute."""
    hints = get_type_hints(obj.__init__ if inspect.isclass(obj) else obj)
    attributes = get_type_hints(obj) if inspect.isclass(obj) else {}
    try:
        parameters = inspect.signature(obj).parameters
    except ValueError:
        return {}
    texts = {name: f"``{type_text(hint)}``" for name, hint in (hints | attributes).items()}
    plain = {name: texts[name] for name in attributes}
    for name, parameter in parameters.items():
        default = default_of(obj, parameter)
        if default is not inspect.Parameter.empty and name in texts:
            texts[name] += f", default ``{default!r}``"
    return {
        "Parameters": texts,
        "Attributes": texts if dataclasses.is_dataclass(obj) else plain,
    }


def default_of(obj: Any, parameter: inspect.Parameter) -> Any:
    """Return a default; of a field of a data class, what its factory gives."""
    if dataclasses.is_dataclass(obj):
        for field in dataclasses.fields(obj):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default


def with_types(lines: list[str], sections: dict[str, dict[str, str]]) -> Iterator[str]:
    """Give the lines of a text back, with a header of its own for each parameter or attribute."""
    texts: dict[str, str] = {}
    for number, line in enumerate(lines):
        if line and re.fullmatch(r"-{3,}", "".join(lines[number + 1 : number + 2])):
            texts = sections.get(line, {})
        names = line.split(", ") if _NAMES.match(line) else []
        if not set(names) & set(texts):
            yield line
            continue
        for name in names[:-1]:
            yield _header(name, texts)
            yield from _indented(lines[number + 1 :])
        yield _header(names[-1], texts)


def _indented(lines: list[str]) -> Iterator[str]:
    """Return the first lines, as far as they are indented."""
    return takewhile(lambda line: not line or line.startswith(" "), lines)


def _header(name: str, texts: dict[str, str]) -> str:
    return f"{name} : {texts[name]}" if name in texts else name


def settings_tables(taken: BaseModel, scratch: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield a table of the fields of settings, then one for each part of them.

    The defaults are those of `taken`; where `scratch` has another, it is said.
    """
    kind = type(taken)
    if prefix:
        yield from ("", f".. rubric:: {prefix[:-1]}", "", kind.__doc__ or "", "")
    yield from ("", ".. list-table::", "   :header-rows: 1", "   :widths: 24 22 16 38", "")
    yield from _row("field", "type", "default", "what it is")
    parts = []
    for name, field in kind.model_fields.items():
        value, other = getattr(taken, name), getattr(scratch, name)
        if isinstance(value, BaseModel):
            parts.append((value, other, f"{prefix}{name}."))
            continue
        default = f"``{value!r}``" + (f"; from scratch ``{other!r}``" if other != value else "")
        about = "; ".join(filter(None, (field.description, bounds(field.metadata))))
        type_ = f"``{type_text(field.annotation)}``"
        yield from _row(f"``{prefix}{name}``", type_, default, about)
    for part in parts:
        yield from settings_tables(*part)


def _row(*cells: str) -> Iterator[str]:
    for number, cell in enumerate(cells):
        yield f"   {'*' if number == 0 else ' '} - {cell}"


def bounds(metadata: list[Any]) -> str:
    """Return the bounds of a field in words.

    >>> from annotated_types import Ge, Le
    >>> bounds([Ge(0), Le(1)])
    '≥ 0, ≤ 1'
    """
    found = [
        f"{sign} {getattr(one, name)}"
        for one in metadata
        for name, sign in _SIGNS.items()
        if hasattr(one, name)
    ]
    return ", ".join(found)


def add_types(app, what, name, obj, options, lines):
    """Change the text of a name, before numpydoc reads it."""
    if inspect.isclass(obj) and issubclass(obj, Settings):
        lines += settings_tables(make_settings(), make_settings(start="scratch"))
    elif what in ("function", "class", "method"):
        lines[:] = list(with_types(list(lines), described(obj)))


def short_signature(app, what, name, obj, options, signature, returned):
    """Leave the fields of settings to their tables; factories give what they give."""
    if inspect.isclass(obj) and issubclass(obj, Settings):
        return "(**fields)", returned
    return (signature or "").replace("<factory>", "{}") or None, returned


def setup(app):
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", add_types, priority=100)  # numpydoc has 500
    app.connect("autodoc-process-signature", short_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
