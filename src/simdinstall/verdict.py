"""What verification found: one operation's outcome, one timed row, and the whole verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from simdinstall.errors import VerifyError

if TYPE_CHECKING:
    from simdinstall.samples import Comparison

#: The largest difference that a bounded kernel may have whose provenance names none: that
#: of Pillow-SIMD's 16-bit coefficients in RGBA (measured; FACTS of the project).
FALLBACK_BOUND = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """How the outcomes of one operation in one mode at one level compare with stock's.

    ``size`` is the input's size in the worst case, ``share`` the share of differing pixels
    there. ``largest_difference`` is what an eye could see: colours count by their alpha;
    ``raw_difference`` is that of the bytes as they are.
    """

    operation: str
    mode: str
    size: str
    level: str
    grade: str
    largest_difference: float
    raw_difference: float
    share: float
    bound: float
    cases: int
    different: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One timed operation: seconds per call of stock and candidate."""

    title: str
    stock: float
    candidate: float
    comparison: Comparison
    kernels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A kernel variant and how often it served a function during verification."""

    function: str
    kernel: str
    level: str
    calls: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What verification found. ``problems`` is empty exactly when ``ok``.

    ``limits`` names what could not be verified here. ``speedup`` is the geometric mean
    over ``rows``. ``cpu_seconds`` and ``memory`` (bytes, the largest process) are
    what it cost.
    """

    ok: bool
    features_ok: bool
    fidelity: str
    level: str
    graded: tuple[Graded, ...]
    rows: tuple[Row, ...]
    speedup: float
    trace: tuple[Ran, ...]
    problems: tuple[str, ...]
    limits: tuple[str, ...]
    stock_version: str = ""
    candidate_version: str = ""
    cpu_seconds: float = 0.0
    memory: int = 0

    @property
    def largest_difference(self) -> float:
        """Over all outcomes, as an eye could see it."""
        return max((row.largest_difference for row in self.graded), default=0)

    @property
    def exact(self) -> tuple[str, ...]:
        """The operations whose outcomes are the very bytes of stock, in every mode."""
        inexact = {row.operation for row in self.graded if row.grade != "exact"}
        return tuple(dict.fromkeys(row.operation for row in self.graded if row.operation not in inexact))

    @property
    def repacked(self) -> tuple[str, ...]:
        """The operations whose pixels are stock's, in files that another zlib packed."""
        return tuple(dict.fromkeys(row.operation for row in self.graded if row.grade == "repacked"))

    @property
    def bounded(self) -> tuple[Graded, ...]:
        """The rows that are not exact, yet within their bound."""
        return tuple(row for row in self.graded if row.grade == "bounded")

    @property
    def failed(self) -> tuple[Graded, ...]:
        """The rows that are not what they must be."""
        return tuple(row for row in self.graded if row.grade == "failed")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the cache and the wheel's provenance."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_json`. Raises :class:`VerifyError` on anything else."""
        # Here, as the statistics behind it take their time and most verdicts are made, not read.
        from simdinstall.samples import Comparison

        try:
            values = dict(data)
            values["graded"] = tuple(Graded(**row) for row in values["graded"])
            values["rows"] = tuple(
                Row(
                    **{
                        **row,
                        "comparison": Comparison(**row["comparison"]),
                        "kernels": tuple(row["kernels"]),
                    }
                )
                for row in values["rows"]
            )
            values["trace"] = tuple(Ran(**row) for row in values["trace"])
            values["problems"] = tuple(values["problems"])
            values["limits"] = tuple(values["limits"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise VerifyError("the kept verdict cannot be read", why=str(error)) from error

    def require_ok(self) -> None:
        """Raises :class:`VerifyError` that lists the problems, where there are any."""
        if not self.ok:
            more = f" and {len(self.problems) - 12} more" if len(self.problems) > 12 else ""
            raise VerifyError(
                "the built Pillow is not what it must be; nothing was installed",
                why="\n".join(self.problems[:12]) + more,
                hint="try --fidelity exact, or report this with the output of `simdinstall explain`",
            )


def declared_bounds(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Kernel → the largest difference that it declares; exact kernels declare 0."""
    bounds: dict[str, float] = {}
    for kernel in provenance.get("kernels", ()):
        if isinstance(kernel, Mapping) and "name" in kernel:
            exact = kernel.get("fidelity") == "exact"
            bounds[kernel["name"]] = 0 if exact else float(kernel.get("largest_difference", FALLBACK_BOUND))
    return bounds
