"""The method: networks, losses, CIN-GAN and cGAN, and the files that hold them (PyTorch)."""
