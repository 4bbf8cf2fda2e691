"""Programs that end, wherever they are asked: not at the arguments alone for which their loops were written.

loops        a program whose loops take no more turns than they are given
callbacks    what Python does in it, waited for no longer than one is patient
rows         such a program run for many inputs, with as many turns as fit into a time
"""
