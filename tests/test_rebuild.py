"""rebuild.py: what the user's own flags may be."""

from __future__ import annotations

import pytest

from simdinstall import rebuild
from simdinstall.errors import UsageError


def test_cflags_and_cc_are_respected() -> None:
    environ = {"CC": "clang -pipe", "CFLAGS": "-O2 -funroll-loops '-DX=\"a b\"'"}
    assert rebuild.user_flags(environ) == ("-pipe", "-O2", "-funroll-loops", '-DX="a b"')
    assert rebuild.user_compiler(environ) == "clang"
    assert rebuild.user_compiler({"CC": "/usr/bin/ccache gcc -m64"}) == "gcc"
    assert rebuild.user_flags({"CC": "ccache gcc -m64"}) == ("-m64",)
    assert rebuild.user_flags({}) == ()
    assert rebuild.user_compiler({}) == "auto"


@pytest.mark.parametrize(
    "flag",
    [
        *("-Ofast", "-ffast-math", "-ffp-contract=fast", "-march=native", "-mavx2", "-flto", "-flto=auto"),
        *("-fvisibility=hidden", "-fsanitize=address", "-mtune=znver3"),
    ],
)
def test_flags_that_would_give_other_pixels_or_shut_the_kernels_out_are_refused(flag: str) -> None:
    for variable in ("CFLAGS", "CC"):
        with pytest.raises(UsageError) as refusal:
            rebuild.user_flags({variable: f"cc {flag}" if variable == "CC" else f"-O2 {flag}"})
        assert flag in refusal.value.what
        assert refusal.value.why


def test_flags_with_an_open_quote_are_said() -> None:
    with pytest.raises(UsageError, match="CFLAGS"):
        rebuild.user_flags({"CFLAGS": "-DX='"})
