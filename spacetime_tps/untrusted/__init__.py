"""Files of strangers: what is read of them, and that nothing in them is executed.

OpenMM runs code that stands in its XML files: scripts and some attributes of a force field, pickled functions of a
serialised System. Here such a file is read once, checked against what is known to be data, and handed on as it was
checked. ``trusting`` is the way around for files of one's own.
"""
