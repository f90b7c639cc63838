"""Published GANs to compare with, written from their papers: pix2pix, DeblurGAN and CycleGAN.

Each module has one function ``train(inputs, targets, *, seconds, seed)`` that gives a `Trained`:
`training.train_gan` with the networks and the step of its paper. Two things are the same for all of
them and differ from the papers. Images are gray planes, so one channel goes in and one comes out.
Epochs become shares of the time allowed: the learning rate is constant for the first half and falls
linearly to zero in the second (`training.Budget`).
"""
