"""Pixels in, pixels out: file formats, axes, intensity scales, tiles and training sets."""
