"""Doctests of modules that need a window library are collected only where it can be imported."""

from importlib import import_module

try:
    for _name in ("qtpy.QtWidgets", "superqt"):
        import_module(_name)
except ImportError:
    _WINDOWS = ("adapt", "background", "options_form", "restore")
    collect_ignore = [f"src/microscopygan/apps/napari/{name}.py" for name in _WINDOWS]
