# This file has to run on every Python that a user may name, 2.7 too.
# ruff: noqa: UP036
"""What an interpreter says about itself, as one line of JSON.

:mod:`simdinstall.interpreter` hands the text of this file to the target interpreter
on its standard input. It needs nothing but the standard library, imports no PIL, and writes
nothing. A Python too old to be a target gets as far as its version, so that it can be
refused by name. The one argument is the folder that holds ``packaging``, for the tags.
"""

import sys

# The current folder is the caller's; a json.py in it must not be taken for the real one.
if __name__ == "__main__" and sys.path[:1] == [""]:
    del sys.path[0]

import json
import os
import platform
import site
import sysconfig

#: Start-up files may print too: the line with the answer begins with this.
MARK = "simdinstall-inspect:"


def facts():
    # type: () -> dict[str, object]
    """Everything that can be asked of any Python."""
    prefix = getattr(sys, "real_prefix", None) or getattr(sys, "base_prefix", sys.prefix)
    confstr = getattr(os, "confstr_names", {})
    return {
        "version": list(sys.version_info[:3]),
        "implementation": platform.python_implementation().lower(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": prefix,
        "path": sys.path,
        "stdlib": sysconfig.get_path("stdlib"),
        "purelib": sysconfig.get_path("purelib"),
        "platlib": sysconfig.get_path("platlib"),
        "user_site": site.getusersitepackages() if hasattr(site, "getusersitepackages") else None,
        "user_site_enabled": bool(getattr(site, "ENABLE_USER_SITE", False)),
        "platform": sysconfig.get_platform(),
        "libc": os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in confstr else None,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    }


def modern(packaging):
    # type: (str) -> dict[str, object]
    """What needs a Python that can be a target, or nearly."""
    import importlib.machinery
    import importlib.util

    def find(name):
        # type: (str) -> object
        # A finder that a .pth file put in may raise anything at all.
        try:
            spec = importlib.util.find_spec(name)
        except Exception as error:
            return {"error": repr(error)}
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        return {
            "origin": spec.origin if spec.has_location else None,
            "folders": None if folders is None else [str(folder) for folder in folders],
        }

    found = {
        "suffixes": importlib.machinery.EXTENSION_SUFFIXES,
        "pil": find("PIL"),
        "pip": find("pip"),
        "ensurepip": find("ensurepip"),
    }
    if sys.version_info >= (3, 11):
        found["tags"] = wheel_tags(packaging)
    return found


def wheel_tags(packaging):
    # type: (str) -> list[str]
    """The PEP 425 tags of this interpreter, best first, by simdinstall's own ``packaging``."""
    sys.path.insert(0, packaging)
    try:
        from packaging import tags
    finally:
        sys.path.remove(packaging)
    return [str(tag) for tag in tags.sys_tags()]


def main():
    # type: () -> None
    """Print the line."""
    answer = facts()
    if sys.version_info >= (3, 8):
        answer.update(modern(sys.argv[1]))
    print("\n" + MARK + json.dumps(answer))


if __name__ == "__main__":
    main()
