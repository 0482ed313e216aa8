"""Wheel caches: build once for many CPUs and Pythons, let each node take its best.

A cache is a folder that any web server, shared file system or object store serves:

    catalogue.json                  what there is; written last, so it never runs ahead
    signatures/<sha256>.sig         the signature of the catalogue with that hash
    wheels/<start of sha256>/…      each wheel, never changed once there
    simple/<level>/pillow/          an index per level, for plain pip and uv
"""
