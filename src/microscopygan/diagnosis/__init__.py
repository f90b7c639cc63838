"""What is wrong with images: which stages of the light path spoil them, and how much."""
