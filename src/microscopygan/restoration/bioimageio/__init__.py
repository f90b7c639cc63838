"""Packages of BioImage.IO: models as other programs take them, and taken from them."""
