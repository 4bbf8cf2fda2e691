"""What a `Config` trains: the classifiers of the lecture and the Neural Turing Machine, as users of the loop.

Which file is about what:

    config       what decides such a run; presets: what each net is usually trained with
    nets         the nets that it can name; net: the classifier that comes of one
    objective    what it means to the loop: loss, parameters, batches, optimizer
    size         whether it fits into this machine
    machine      the same for a Neural Turing Machine; sequences: its loss, its error and its update rule
    grid         many classifiers at once
    templates    a picture of what a first layer has learned; memory_plot: of a machine's memory; wiring: of
                 a random net
"""
