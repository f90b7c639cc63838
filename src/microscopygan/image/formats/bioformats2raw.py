"""OME-XML that bioformats2raw puts beside the images of a Zarr: what it says, and a copy of it."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from ..image import Header
from .ome_tiff import ome_description

_XML = "METADATA.ome.xml"  # in the group OME
_MOST = 2**26  # bytes of it
_LEAD = "TCZ"
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_CHANGED = r'\s(Type|SizeZ|PhysicalSizeZ|PhysicalSizeZUnit)="[^"]*"'  # by restoring
_TYPES = {"float32": "float", "float64": "double"}  # OME's names that are not NumPy's


def beside(group: Any, inner: str) -> dict[str, Any] | None:
    """Return the XML beside an image in a group; None where there is none that speaks of it.

    Parameters
    ----------
    group
        Open Zarr group of all images.
    inner
        Path of the image in it.

    Returns
    -------
    dict
        ``xml``, the attributes of the group that holds it, and the number of its image there.

    Raises
    ------
    ValueError
        It is larger than any such text.
    """
    xml = _read(group)
    if xml is None:
        return None
    about = dict(group["OME"].attrs) if "OME" in group else {}
    about = {key: value for key, value in (about.get("ome") or about).items() if key != "version"}
    series = [str(one) for one in about.get("series", ())]
    if inner in series:
        number = series.index(inner)
    elif inner.isdecimal():
        number = int(inner)
    else:
        return None
    return {"xml": xml, "attributes": about, "number": number}


def _read(group: Any) -> str | None:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    key = f"{group.path}/OME/{_XML}".strip("/")
    try:
        size = sync(group.store.getsize(key))
    except FileNotFoundError:
        return None
    if size > _MOST:
        raise ValueError(f"{key} has {size} bytes, which is an attack or damage")
    found = sync(group.store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes().decode("utf-8")


def complete(level: Any, found: dict[str, Any]) -> None:
    """Add to what an image says of itself what the XML says; its own word counts more."""
    root = ElementTree.fromstring(found["xml"])
    images = root.findall("{*}Image")
    pixels = images[found["number"]].find("{*}Pixels") if found["number"] < len(images) else None
    if pixels is None:
        return
    lengths = tuple(int(pixels.get(f"Size{letter}", 1)) for letter in _LEAD)
    about = ome_description(root, images[found["number"]], _LEAD, lengths, lengths)
    level.channels = level.channels or about.channels
    level.interval = level.interval or about.interval
    level.sizes = about.sizes | {a: size for a, size in level.sizes.items() if size}
    details = {name: value for name, value in about.details.items() if value}
    stated, own = details.get("channels", []), level.details.get("channels", [])
    if stated and len(own) == len(stated):
        details["channels"] = [one | other for one, other in zip(stated, own, strict=True)]
    elif own:
        details.pop("channels", None)
    level.details = level.details | {
        name: value
        for name, value in details.items()
        if name == "channels" or name not in level.details
    }


def write_beside(group: Any, found: dict[str, Any], header: Header) -> None:
    """Write the XML into the group of its output, with what restoring has changed of an image."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    written = _read(group)
    same = written is not None and _unchanged(written) == _unchanged(found["xml"])
    text = restated(written if same and written else found["xml"], found["number"], header)
    attributes: dict[str, Any] = found["attributes"]
    if group.metadata.zarr_format == 3:
        attributes = {"ome": {"version": "0.5", **attributes}}
    group.require_group("OME").attrs.put(attributes)
    key = f"{group.path}/OME/{_XML}".strip("/")
    content = default_buffer_prototype().buffer.from_bytes(text.encode())
    sync(group.store.set(key, content))


def _unchanged(xml: str) -> str:
    """Leave out what restoring may change."""
    return _PIXELS.sub(lambda tag: re.sub(_CHANGED, "", tag[0]), xml)


def restated(xml: str, number: int, header: Header) -> str:
    """Return an OME-XML that states type, planes and their distance of an output's image.

    Examples
    --------
    >>> restated('<Pixels SizeZ="3" Type="uint8"/>', 0, Header((9, 8, 8), "float32", "ZYX"))
    '<Pixels SizeZ="9" Type="float"/>'
    """
    tags = list(_PIXELS.finditer(xml))
    if number >= len(tags):
        return xml
    tag = tags[number]
    depth = header.shape[header.axes.index("Z")] if "Z" in header.axes else 1
    values = {"Type": _TYPES.get(header.dtype.name, header.dtype.name), "SizeZ": str(depth)}
    if f'SizeZ="{depth}"' not in tag[0] and "Z" in header.pixel_size:
        values |= {"PhysicalSizeZ": repr(header.pixel_size["Z"]), "PhysicalSizeZUnit": "µm"}
    changed = tag[0]
    for name, value in values.items():
        changed = re.sub(rf'\b{name}="[^"]*"', f'{name}="{value}"', changed)
    return xml[: tag.start()] + changed + xml[tag.end() :]
