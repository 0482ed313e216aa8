from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from extensions import SOURCE, compile_extension
from simdinstall import abi, kernels
from simdinstall.abi import Abi
from simdinstall.errors import BuildError
from simdinstall.kernels import Function


def function(
    name: str = "ImagingNegative", prototype: str = "Imaging(Imaging)", uses: tuple[str, ...] = ()
) -> Function:
    return Function(name=name, front="front.c", prototypes={prototype: 1, "int(void)": 2}, uses=uses)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Abi:
    return abi.read(compile_extension(tmp_path_factory.mktemp("small")))


def test_prototypes_are_canonical(small: Abi) -> None:
    assert small.prototypes["ImagingCopy"] == "Imaging(Imaging)"
    assert small.prototypes["ImagingFill"] == "int(Imaging, const void *, const short *)"
    assert small.prototypes["ImagingSectionEnter"] == "void(ImagingSectionCookie *)"
    assert small.prototypes["PyInit__imaging"] == "void *(void)"
    assert (
        small.prototypes["ImagingApply"] == "Imaging(Imaging, int(*)(double *, int), double, void *const *)"
    )
    assert small.prototypes["ImagingFind"].endswith("(ModeID, unsigned int *, ...)")


def test_fields_lie_where_the_compiler_put_them(small: Abi) -> None:
    fields = {field.name: field for field in small.struct_fields["ImagingMemoryInstance"]}
    assert fields["mode"] == ("mode", 0, 4, "ModeID")
    assert fields["image8"] == ("image8", 32, 8, "unsigned char **")
    assert fields["palette"].type == "ImagingPalette"
    assert fields["band_names"][2:] == (12, "char[4][3]")
    assert fields["destroy"].type == "void(*)(Imaging)"
    assert small.struct_fields["ImagingMemoryBlock"][1] == ("size", 8, 4, "int")
    assert small.struct_sizes["ImagingPaletteInstance"] == 1028


def test_enums_and_dynamic_section(small: Abi) -> None:
    assert small.enums["ModeID"] == {
        "IMAGING_MODE_UNKNOWN": 0,
        "IMAGING_MODE_L": 6,
        "IMAGING_MODE_RGB": 12,
    }
    assert {"ImagingNegative", "ImagingCopy"} <= small.exported & small.plt
    assert "ImagingDelete" in small.exported - small.plt
    assert "free" in small.imported
    assert small.needed == ("libc.so.6",)
    assert (small.machine, small.libc, small.symbolic) == ("x86_64", "glibc", False)
    assert abi.version_key("2.2.5") <= abi.version_key(small.glibc) < abi.version_key("3")
    abi.frontable(small)


def test_json_round_trip(small: Abi) -> None:
    assert Abi.from_json(json.loads(json.dumps(small.to_json()))) == small


@pytest.mark.parametrize("more", ["", "void *front; double middle;", "char odd[3]; long double wide;"])
def test_header_follows_fields_that_move(tmp_path: Path, more: str) -> None:
    found = abi.read(compile_extension(tmp_path, flags=[f"-DMORE={more}"]))
    header = abi.header(found, [function()], release="13.0.0rc1")
    offset = next(f.offset for f in found.struct_fields[abi.IMAGE] if f.name == "image32")
    (tmp_path / "pillow_abi.h").write_text(header)
    (tmp_path / "use.c").write_text(
        f"""
        #include "pillow_abi.h"
        int number = PILLOW_RELEASE_NUMBER, variant = PILLOW_PROTOTYPE_ImagingNegative;
        _Static_assert(PILLOW_RELEASE_NUMBER == 130000, "");
        _Static_assert(PILLOW_PROTOTYPE_ImagingNegative == 1, "");
        _Static_assert(PILLOW_HAS_mutex && PILLOW_HAS_ModeID, "");
        _Static_assert(offsetof(struct ImagingMemoryInstance, image32) == {offset}, "");
        _Static_assert(IMAGING_MODE_RGB == 12, "");
        int pixel(Imaging im) {{ return im->image32[0][im->xsize] + im->palette->palette[3] + im->mutex[0]
                                        + im->band_names[1][2] + im->blocks->size + (im->mode == 12); }}
        """
    )
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "use.c"], cwd=tmp_path, check=True)


def test_header_is_refused_by_the_compiler_when_it_is_wrong(small: Abi, tmp_path: Path) -> None:
    fields = list(small.struct_fields[abi.IMAGE])
    fields[3] = fields[3]._replace(offset=fields[3].offset + 1)
    wrong = replace(small, struct_fields={**small.struct_fields, abi.IMAGE: tuple(fields)})
    (tmp_path / "wrong.h").write_text(abi.header(wrong, [], release="1"))
    done = subprocess.run(
        ["gcc", "-fsyntax-only", "-x", "c", "wrong.h"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "is misplaced" in done.stderr


def test_a_function_that_fits_is_no_misfit(small: Abi) -> None:
    uses = ("mode", "image32", "ImagingCopy()")
    assert not abi.misfits(small, [function(uses=uses)], {"ImagingCopy": "Imaging(Imaging)"})


def test_fixed_width_types_of_the_manifest_are_understood(small: Abi) -> None:
    fitting = function("ImagingNegative", "Imaging(Imaging)")
    table = function("ImagingFill", "int(Imaging, const void *, const int16_t *)")
    found = abi.misfits(replace(small, plt=small.exported), [fitting, table], {})
    assert not found


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (function("ImagingReduce"), "ImagingReduce is not exported"),
        (function("ImagingDelete", "void(Imaging)"), "not called through a slot"),
        (function(prototype="Imaging(Imaging, int)"), "no kernel knows: Imaging(Imaging)"),
        (function(uses=("arrow",)), "no field arrow"),
        (function(uses=("ImagingNew()",)), "ImagingNew, which the kernels call, is not exported"),
        (function(uses=("ImagingDelete()",)), "ImagingDelete, which the kernels call, is void(Imaging)"),
    ],
)
def test_misfits_say_why(small: Abi, wanted: Function, reason: str) -> None:
    found = abi.misfits(small, [wanted], {"ImagingDelete": "int(Imaging)"})
    assert reason in found[wanted.name]


def test_a_function_whose_kernels_call_another_library_than_the_extension_is_a_misfit(small: Abi) -> None:
    wanted = replace(function(), imports=("inflate",))
    found = abi.misfits(small, [wanted], {})
    assert "inflate, which the kernels call, is not called" in found[wanted.name]
    assert not abi.misfits(replace(small, imported=small.imported | {"inflate"}), [wanted], {})


def test_a_mode_that_is_text_rules_kernels_out(tmp_path: Path) -> None:
    old = abi.read(compile_extension(tmp_path, flags=["-DMODE=char", "-DMODE_SIZE=[7]"]))
    assert "its mode as char[7]" in abi.misfits(old, [function(uses=("mode",))], {})["ImagingNegative"]
    assert not abi.misfits(old, [function(uses=("xsize",))], {})
    (tmp_path / "old.h").write_text(abi.header(old, [], release="10.4.0"))
    subprocess.run(["gcc", "-Werror", "-fsyntax-only", "-x", "c", "old.h"], cwd=tmp_path, check=True)


def test_protected_functions_cannot_be_fronted(tmp_path: Path) -> None:
    hidden = SOURCE.replace("__attribute__((noinline))", '__attribute__((noinline, visibility("protected")))')
    found = abi.read(compile_extension(tmp_path, source=hidden))
    assert "not exported" in abi.misfits(found, [function()], {})["ImagingNegative"]


def test_functions_bound_at_link_time_cannot_be_fronted(tmp_path: Path) -> None:
    found = abi.read(compile_extension(tmp_path, link=["-Wl,-Bsymbolic-functions"]))
    with pytest.raises(BuildError, match="no kernels can be put in front") as caught:
        abi.frontable(found)
    assert "slots" in caught.value.why


def test_symbolic_extension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        abi.frontable(abi.read(compile_extension(tmp_path, link=["-Wl,-Bsymbolic"])))
    assert "DT_SYMBOLIC" in caught.value.why


@pytest.mark.parametrize("how", ["-g0", "strip"])
def test_extension_without_debug_information_is_refused(tmp_path: Path, how: str) -> None:
    extension = compile_extension(tmp_path, debug="-g" if how == "strip" else how)
    if how == "strip":
        subprocess.run(["strip", "-g", extension], check=True)
    with pytest.raises(BuildError) as caught:
        abi.frontable(abi.read(extension))
    assert "no debug information" in caught.value.why
    assert "PyPI" in caught.value.hint


def test_damaged_extensions_are_refused(tmp_path: Path) -> None:
    whole = compile_extension(tmp_path).read_bytes()
    for number, content in enumerate([b"", b"\x7fELF", whole[:700], whole[: len(whole) // 2], b"PK" + whole]):
        damaged = tmp_path / f"{number}.so"
        damaged.write_bytes(content)
        with pytest.raises(BuildError, match="cannot be read"):
            abi.read(damaged)


def test_damaged_debug_information_is_refused(tmp_path: Path) -> None:
    extension = compile_extension(tmp_path)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\xff" * 400)
    subprocess.run(["objcopy", "--update-section", f".debug_info={garbage}", extension], check=True)
    with pytest.raises(BuildError):
        abi.frontable(abi.read(extension))


def test_programs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-no-pie", "main.c", "-o", "program"], cwd=tmp_path, check=True)
    with pytest.raises(BuildError, match="program cannot be read"):
        abi.read(tmp_path / "program")


def test_the_manifest_is_canonical() -> None:
    """What is not canonical could never match a prototype that was read."""
    catalogue = kernels.load()
    prototypes = [text for f in catalogue.functions for text in f.prototypes]
    for text in (*prototypes, *catalogue.callbacks.values()):
        assert "INT" not in text, "Pillow's own names of integers are not in the debug information"
        assert " (" not in text
