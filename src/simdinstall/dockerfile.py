"""The lines of a Dockerfile that build once and copy the wheel."""

from __future__ import annotations


def lines(*, image: str, march: str, release: str | None, requirement: str) -> str:
    """Two stages: the first has a compiler and is thrown away, the second gets a wheel alone.

    ``requirement`` is what pip installs simdinstall from. Where the image runs is not
    known when it is built: ``march`` should be ``portable`` or a level, never ``native``.
    """
    wanted = f" --pillow {release}" if release else ""
    return f"""\
FROM {image} AS simd
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python3 -m venv /opt/simd && /opt/simd/bin/pip install {requirement}
RUN /opt/simd/bin/simdinstall wheel --python "$(command -v python3)" --march {march}{wanted} -o /wheels

FROM {image}
COPY --from=simd /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl && rm -r /wheels
# After your own requirements, so that none of them puts stock Pillow back; in CI:
# RUN python3 -m PIL._simd
"""
