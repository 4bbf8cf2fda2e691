"""What each net is usually trained with."""

from dataclasses import replace

from funcnet.train.models.config import Config

NTM = Config(
    "copy", net="ntm", optimizer="rmsprop", learning_rate=3e-4, schedule="cosine", batch_size=1, epochs=40
)

PRESETS = {
    "mlp": Config(),
    "convnet": Config(
        net="convnet", hidden=(128,), optimizer="adamw", learning_rate=2e-3, batch_size=128, epochs=12
    ),
    "alexnet": Config(
        net="alexnet", hidden=(4096,), learning_rate=0.01, regularization=2.5e-4, batch_size=128
    ),
    "randwired": Config(
        net="randwired",
        hidden=(1280,),
        channels=(78,),
        learning_rate=0.1,
        schedule="cosine",
        regularization=2.5e-5,
        batch_size=128,
    ),
    "ntm": NTM,
    "ntm_lstm": replace(NTM, net="ntm_lstm", epochs=60),
}
"""By net; `funcnet train --net NET` starts from its settings.

AlexNet: momentum 0.9, step size 0.01, batches of 128, weight decay 5e-4, which is 2λ (Krizhevsky et al. 2012,
§5). Randomly wired: step size 0.1, half a cosine, momentum 0.9, decay 5e-5 (Xie et al. 2019, §4.1).
Neural Turing Machine: 100 units, one sequence a step (Graves, Wayne and Danihelka 2014, §4.6).
"""
