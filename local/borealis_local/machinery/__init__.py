"""Pure API machinery: what Kubernetes does to objects, as functions of values.

Nothing here does input or output, keeps time or draws chance; objects go in and come out as plain JSON values, and no
argument is changed in place.
"""
