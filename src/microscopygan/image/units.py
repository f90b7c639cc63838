"""Units of length and time, as microscopy formats write them."""

import math

_MICROMETRES = {
    **{"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0},
    **{"micrometer": 1.0, "micrometre": 1.0, "nanometer": 1e-3, "nanometre": 1e-3, "nm": 1e-3},
    **{"picometer": 1e-6, "pm": 1e-6, "angstrom": 1e-4, "å": 1e-4, "millimeter": 1e3, "mm": 1e3},
    **{"centimeter": 1e4, "cm": 1e4, "meter": 1e6, "m": 1e6, "inch": 25400.0, "in": 25400.0},
}
_SECONDS = {
    **{"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3},
    **{"millisecond": 1e-3, "microsecond": 1e-6, "µs": 1e-6, "μs": 1e-6, "us": 1e-6},
    **{"nanosecond": 1e-9, "ns": 1e-9, "min": 60.0, "minute": 60.0, "minutes": 60.0},
    **{"h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0},
}


def micrometres(value: object, unit: object) -> float | None:
    """Convert a length to µm; None where it is not positive, not finite or of no known unit.

    Examples
    --------
    >>> micrometres("250", "nm"), micrometres(0, "nm"), micrometres(1, "pixel")
    (0.25, None, None)
    """
    return _converted(value, _MICROMETRES.get(str(unit).strip().lower()))


def seconds(value: object, unit: object) -> float | None:
    """Convert a duration to seconds; None where it is not positive or of no known unit.

    Examples
    --------
    >>> seconds(500, "millisecond"), seconds("nan", "s")
    (0.5, None)
    """
    return _converted(value, _SECONDS.get(str(unit).strip().lower()))


def known(sizes: dict[str, float | None], axes: str) -> dict[str, float]:
    """Keep the known pixel sizes of the axes that an image has.

    Examples
    --------
    >>> known({"Z": 0.3, "Y": None, "X": 0.1}, "YX")
    {'X': 0.1}
    """
    return {k: v for k, v in sizes.items() if v is not None and k in axes}


def _converted(value: object, factor: float | None) -> float | None:
    try:
        number = float(str(value)) * (factor or math.nan)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
