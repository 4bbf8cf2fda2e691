"""Training on many devices and in many processes.

Which file is about what:

    mesh         where parameters, the optimizer's state and batches are
    canonical    the same bits on 1, 2, 4 and 8 devices
    sharded      states in parts on disk
    processes    how the processes of one run meet, and notice that one is lost
"""
