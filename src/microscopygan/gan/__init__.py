"""The two GANs: networks, losses, CIN-GAN, cGAN, and the one training loop (needs PyTorch)."""
