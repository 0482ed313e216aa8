"""What runs inside a build of Pillow to test and time it.

This package is executed by the interpreter of the environment under test, which has
no simdinstall: it imports only PIL and the standard library, each from where that
interpreter finds them, and it keeps to what Python 3.9 knows. :mod:`simdinstall.measure`
starts it by its path and talks to :mod:`.worker` in lines of JSON.
"""
