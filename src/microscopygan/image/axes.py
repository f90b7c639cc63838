"""Axes of an image as a string of letters, and images as stacks of planes."""

from collections.abc import Callable

import numpy as np

AXES = "TCZYX"  # time, channel, depth, height, width
_CUSTOMARY = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}  # of arrays that name none
_CHANNEL_LAST = {3: "YXC", 4: "ZYXC", 5: "TZYXC"}  # of arrays whose last axis has length 1
_QUESTION = {3: "ZYX, TYX or CYX", 4: "TZYX, CZYX or TCYX", 5: "TCZYX or another order"}


def check_axes(axes: str, ndim: int | tuple[int, ...], name: str = "image") -> None:
    """Raise unless `axes` names the dimensions of an image once each.

    Parameters
    ----------
    axes
        One letter of ``TCZYX`` for each dimension, in any order, with Y and X.
    ndim
        Number of dimensions of the array, or its shape.
    name
        The image's name, for the message.

    Raises
    ------
    ValueError
        Unknown, repeated or missing letters, or another number of them than `ndim`.

    Examples
    --------
    >>> check_axes("ZYX", 3)
    >>> check_axes("ZX", 2, "a.tif")
    Traceback (most recent call last):
    ValueError: a.tif: expected axes letters of TCZYX, each once, with Y and X, got 'ZX'; ...
    """
    if not set("YX") <= set(axes) <= set(AXES) or len(set(axes)) != len(axes):
        raise ValueError(
            f"{name}: expected axes letters of {AXES}, each once, with Y and X, got {axes!r}; "
            "name the axes anew"
        )
    number, shape = (ndim, "") if isinstance(ndim, int) else (len(ndim), f" {tuple(ndim)}")
    if len(axes) != number:
        raise ValueError(
            f"{name}: expected one axis letter for each of {number} dimensions{shape}, got "
            f"{axes!r}; name the axes anew"
        )


def name_axes(
    name: str, shape: tuple[int, ...], named: str | None, given: str | None, fallback: bool
) -> str:
    """Choose the axes of an image from its file's, the user's and custom.

    Parameters
    ----------
    name
        The image's name, for the message.
    shape
        Length of each dimension.
    named
        Axes that the file states, None where it does not.
    given
        Axes that the user states; they override the file's. Dimensions of length 1 may be left
        out.
    fallback
        Take three and more dimensions without names as ZYX, TZYX and TCZYX. So are those of an
        image with a dimension of length 1 besides Y and X always, and two are YX.

    Raises
    ------
    ValueError
        Axes that do not fit the shape; or none, which is a question to the user.

    Examples
    --------
    >>> name_axes("a.npy", (3, 64, 64), None, None, fallback=False)
    Traceback (most recent call last):
    ValueError: a.npy: expected to know the axes, got 3 dimensions (3, 64, 64) without names; give
    --axes ZYX, TYX or CYX
    >>> name_axes("a.npy", (1, 64, 64), None, None, fallback=False)
    'ZYX'
    """
    if given is not None:
        axes = _stretched(given.upper(), shape)
    else:
        axes = named or _customary(name, shape, fallback)
    check_axes(axes, shape, name)
    return axes


def _customary(name: str, shape: tuple[int, ...], fallback: bool) -> str:
    """Axes of an image that names none."""
    if len(shape) not in _CUSTOMARY:
        raise ValueError(
            f"{name}: expected 2 to 5 dimensions, got shape {shape}; save planes as (Y, X) or "
            "stacks as (N, Y, X)"
        )
    if len(shape) > 2 and shape[-1] == 1:
        return _CHANNEL_LAST[len(shape)]
    if len(shape) > 2 and 1 not in shape[:-2] and not fallback:
        raise ValueError(
            f"{name}: expected to know the axes, got {len(shape)} dimensions {shape} without "
            f"names; give --axes {_QUESTION[len(shape)]}"
        )
    return _CUSTOMARY[len(shape)]


def _stretched(axes: str, shape: tuple[int, ...]) -> str:
    """Name dimensions of length 1 that axes leave out, where these fit the others.

    Of a plane, axes may name further ones, of length 1, that its file has not.
    """
    if len(shape) == 2 and axes.endswith("YX"):
        check_axes(axes, len(axes))
        return "YX"
    long = [n > 1 for n in shape]
    if len(axes) == len(shape) or len(axes) != sum(long):
        return axes
    stated, free = iter(axes), iter(letter for letter in "ZTC" if letter not in axes)
    return "".join(next(stated) if is_long else next(free, "") for is_long in long)


def to_planes(
    array: np.ndarray, axes: str
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """View an image as a stack of planes.

    Parameters
    ----------
    array
        Any dtype, any order of T, C, Z, Y, X.
    axes
        Its axes, one letter for each dimension.

    Returns
    -------
    planes : ndarray, (N, Y, X)
        The axes other than Y and X flattened in their order; dtype kept.
    back : callable
        Takes planes of the same shape (any dtype) and returns them in the shape and axes order
        of `array`.

    Raises
    ------
    ValueError
        `axes` does not describe `array`; or `back` got another shape.

    Examples
    --------
    >>> image = np.arange(24).reshape(2, 3, 4)
    >>> planes, back = to_planes(image, "YXZ")
    >>> planes.shape, np.array_equal(back(planes), image)
    ((4, 2, 3), True)
    """
    check_axes(axes, array.ndim)
    order = [i for i, letter in enumerate(axes) if letter not in "YX"]
    order += [axes.index("Y"), axes.index("X")]
    ordered = array.transpose(order)
    planes = ordered.reshape(_count(ordered.shape[:-2]), *ordered.shape[-2:])

    def back(changed: np.ndarray) -> np.ndarray:
        if changed.shape != planes.shape:
            raise ValueError(
                f"expected planes (N, Y, X) of shape {planes.shape}, got {changed.shape}; "
                "keep their number and size"
            )
        return changed.reshape(ordered.shape).transpose(np.argsort(order))

    return planes, back


def to_volumes(array: np.ndarray, axes: str) -> np.ndarray:
    """Copy or view an image as volumes (V, Z, Y, X), one for each time and channel.

    Examples
    --------
    >>> to_volumes(np.zeros((5, 8, 9, 2)), "ZYXC").shape
    (2, 5, 8, 9)
    """
    check_axes(axes, array.ndim)
    ordered = array.transpose([axes.index(letter) for letter in AXES if letter in axes])
    depth = array.shape[axes.index("Z")] if "Z" in axes else 1
    lead = _count(ordered.shape[: len(axes) - 2 - ("Z" in axes)])
    return ordered.reshape(lead, depth, *ordered.shape[-2:])


def _count(lengths: tuple[int, ...]) -> int:
    """Product of axis lengths; 1 without axes (a reshape with -1 fails on empty arrays)."""
    return int(np.prod(lengths, dtype=np.int64))
