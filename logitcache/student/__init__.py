"""Students: batches in, a trained network, its metrics and checkpoints out.

``batches``      what a training step reads, and who supplies it
``losses``       functions of tensors: cross-entropy, KL at any temperature, logit MSE
``objectives``   a loss with its parameters, as an option record and a callable of a batch
``schedule``     the learning rate as a pure function of the step
``checkpoint``   the whole state of a training in one safetensors file
``training``     the one training loop, for students and for teachers that a recipe trains

Nothing here knows a teacher: soft targets arrive as tensors in a batch.
"""
