"""The plug-in for napari: thin windows over what the command line does.

`layers` and `training_set` know layers and no Qt; the widgets know both and no science.
"""
