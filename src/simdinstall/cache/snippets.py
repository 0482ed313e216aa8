"""Lines for the configuration of other tools, that make them use a cache. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Where levels are chosen by a shell on the node itself: the best that the index has.
_CHOOSE = "$(simdinstall cache url {address})"


def pip(url: str, address: str) -> str:
    """``pip.conf``: the cache beside the usual index, so that dependents are found too."""
    return f"# pip.conf\n[global]\nextra-index-url = {url}\n"


def uv(url: str, address: str) -> str:
    """``uv.toml``: the index serves Pillow alone, before all others."""
    return (
        f'# uv.toml (in pyproject.toml: [[tool.uv.index]])\n[[index]]\nname = "simdinstall"\nurl = "{url}"\n'
        "# to take nothing but Pillow from it, in pyproject.toml:\n"
        '# [tool.uv.sources]\n# pillow = { index = "simdinstall" }\n'
    )


def module(url: str, address: str) -> str:
    """An environment module (Lmod): the level is chosen on the node that loads it."""
    return (
        "-- pillow-simd.lua (Lmod)\n"
        f'whatis("Pillow with SIMD kernels, from {address}")\n'
        f'local url = capture("simdinstall cache url {address}"):gsub("%s+$", "")\n'
        'pushenv("PIP_EXTRA_INDEX_URL", url)\npushenv("UV_INDEX", url)\n'
        f'pushenv("SIMDINSTALL_CACHE", "{address}")\n'
    )


def ansible(url: str, address: str) -> str:
    """A task: each host picks its own."""
    return (
        "# Ansible\n"
        "- name: Pillow with SIMD kernels\n"
        "  ansible.builtin.command:\n"
        f'    argv: [simdinstall, --cache, "{address}", --python, "{{{{ venv }}}}/bin/python", --yes]\n'
        "  register: pillow\n"
        "  changed_when: \"'nothing to do' not in pillow.stdout\"\n"
    )


def docker(url: str, address: str) -> str:
    """A Dockerfile: images are built on one machine and run on others, hence a level by name."""
    return (
        "# Dockerfile: the level below is this machine's; take `portable` for an image that runs anywhere\n"
        f"RUN pip install --extra-index-url {url} pillow\n"
    )


FORMATS: Mapping[str, Callable[[str, str], str]] = {
    "pip": pip,
    "uv": uv,
    "module": module,
    "ansible": ansible,
    "docker": docker,
}
