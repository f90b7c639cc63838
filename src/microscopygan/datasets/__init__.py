"""Training sets: a folder of images, pairs by name, and sets as others publish them."""
