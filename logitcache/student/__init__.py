"""Students: batches in, a trained network, its metrics and checkpoints out.

What is trained on::

    batches        what a training step reads, what a student says of it, and who supplies batches
    feed           views of a split with labels and soft targets, in keyed order
    losses/        functions of tensors: cross-entropy, KL at any temperature, and all others
    objectives/    losses with their parameters, weights and schedules, as option records and modules

How::

    options        all that decides a training; ``schedule`` and ``optimizers`` follow from it
    learner        what a training steps: one network with its optimizer and ``averaging`` of weights
    stack/         many networks of one architecture as one learner
    distributed    one network on many processes; ``world`` is this one's place among them
    loop           the one loop: epochs, checkpoints in and between them, ``records`` of what happened
    training       a network trained to its end, or from where it was stopped
    checkpoint     the whole state of a training in one safetensors file
    evaluation     predictions and accuracy on the clean view
    measuring      train samples: accuracy, and the logits' distance to the teacher's

Nothing here knows a teacher: soft targets arrive as tensors in a batch.
"""
