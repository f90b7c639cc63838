"""What goes wrong in a microscope: optics, sensor and sampling, and specimens to try it on."""
