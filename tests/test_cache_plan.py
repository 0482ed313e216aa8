from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cache_parts
from simdinstall.cache import cluster_plan
from simdinstall.cache.cluster_plan import Node
from simdinstall.cli import main
from simdinstall.cpu import Cpu
from simdinstall.errors import CpuError, UsageError
from simdinstall.run import CommandFailed, Completed

V2, V3, V4 = (cache_parts.cpu(f"x86-64-v{n}") for n in (2, 3, 4))


def nodes(**cpus: Cpu | None) -> list[Node]:
    return [Node(name=name, cpu=cpu) for name, cpu in cpus.items()]


def test_each_level_that_a_node_has_is_built_once() -> None:
    made = cluster_plan.plan(nodes(a1=V3, a10=V3, a2=V3, b=cache_parts.BEST))
    assert made.marches == "x86-64-v3,x86-64-v4"
    assert made.builds[0].nodes == ("a1", "a2", "a10")
    assert made.common == "x86-64-v3"
    assert not made.warnings


def test_avx512_without_vnni_is_served_by_v3() -> None:
    skylake = cache_parts.cpu("x86-64-v4", "pku", "rtm")
    assert cluster_plan.best_for(skylake) == "x86-64-v3"
    # A node that is only known to be of a level is believed to have what goes with it.
    assert cluster_plan.best_for(V4) == "x86-64-v4"
    assert cluster_plan.best_for(cache_parts.cpu("x86-64")) == "portable"


def test_unknown_and_foreign_nodes() -> None:
    arm = cluster_plan._cpu_named("aarch64")
    made = cluster_plan.plan(nodes(a=V3, b=None, c=arm))
    assert made.marches == "portable,x86-64-v3"
    assert made.unknown == ("b",)
    assert made.foreign == ("c",)
    assert made.common == "portable"
    assert made.nodes == 3
    assert len(made.warnings) == 2
    with pytest.raises(UsageError, match="no nodes"):
        cluster_plan.plan([])


def test_a_login_node_unlike_the_others() -> None:
    made = cluster_plan.plan(nodes(a=V3), login=cache_parts.BEST)
    assert "is not like all nodes" in made.warnings[0]
    assert not cluster_plan.plan(nodes(a=V3), login=V3).warnings


def test_inventories(tmp_path: Path) -> None:
    told = cache_parts.BEST.to_json()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "n1.json").write_text(json.dumps(told))
    (tmp_path / "one" / "n2.json").write_text(json.dumps({"hostname": "other", **V3.to_json()}))
    assert [node.name for node in cluster_plan.read_nodes(tmp_path / "one")] == ["n1", "other"]
    forms: dict[str, Any] = {
        "map": {"n1": told, "n2": "zen2", "n3": None},
        "list": [{"node": "n1", "cpu": told}, {"hostname": "n2", **V3.to_json()}],
    }
    for name, form in forms.items():
        path = tmp_path / name
        path.write_text(json.dumps(form))
        found = cluster_plan.read_nodes(path)
        assert [node.name for node in found] == ["n1", "n2", "n3"][: len(found)]
        assert found[0].cpu == cache_parts.BEST
    (tmp_path / "stream").write_text(json.dumps(told, indent=2) + "\n" + json.dumps(V2.to_json()))
    assert [node.name for node in cluster_plan.read_nodes(tmp_path / "stream")] == ["stream-1", "stream-2"]
    (tmp_path / "lines").write_text("# our cluster\nn1 x86-64-v3\nn2 cascadelake # new\n\nn3 unknown\n")
    found = cluster_plan.read_nodes(tmp_path / "lines")
    assert [node.cpu and cluster_plan.best_for(node.cpu) for node in found] == [
        "x86-64-v3",
        "x86-64-v4",
        None,
    ]


@pytest.mark.parametrize("text", ["{", '{"a": 7}', "n1 v3 more", "[1, 2]", "n1 pentium9"])
def test_what_is_no_inventory(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises((UsageError, CpuError)):
        cluster_plan.read_nodes(tmp_path / "x")
    with pytest.raises(UsageError):
        cluster_plan.read_nodes(tmp_path / "missing")


SCONTROL = """\
NodeName=n1 Arch=x86_64 CPUAlloc=0 AvailableFeatures=x86_64_v2,ib,v100 ActiveFeatures=x86_64_v2 State=IDLE
NodeName=n2 Arch=x86_64 AvailableFeatures=x86_64_v4,x86_64_v3 OS=Linux 6.1.0 #1 SMP
NodeName=n3 AvailableFeatures=zen3
NodeName=n4 AvailableFeatures=(null)
NodeName=n5 Arch=aarch64 AvailableFeatures=grace
"""


def test_slurm_is_asked_for_features() -> None:
    def scontrol(argv: Any, **options: Any) -> Completed:
        return Completed(argv=tuple(argv), returncode=0, stdout=SCONTROL, stderr="", cpu_seconds=0)

    found = cluster_plan.slurm_nodes(run=scontrol)
    made = cluster_plan.plan(found)
    assert {build.march: build.nodes for build in made.builds} == {
        "portable": ("n4",),
        "x86-64-v2": ("n1",),
        "x86-64-v3": ("n3",),
        "x86-64-v4": ("n2",),
    }
    assert made.foreign == ("n5",)


def test_without_slurm() -> None:
    def nothing(argv: Any, **options: Any) -> Completed:
        ended = Completed(argv=tuple(argv), returncode=127, stdout="", stderr="", cpu_seconds=0)
        raise CommandFailed(ended, why="it cannot be started")

    with pytest.raises(UsageError, match="Slurm cannot be asked"):
        cluster_plan.slurm_nodes(run=nothing)


def test_ten_thousand_nodes(tmp_path: Path) -> None:
    told = [cache_parts.cpu(f"x86-64-v{n}", "ht", f"f{n}").to_json() for n in (2, 3, 4)]
    many = {f"node{number:05}": told[number % 3] for number in range(10000)}
    (tmp_path / "x.json").write_text(json.dumps(many))
    made = cluster_plan.plan(cluster_plan.read_nodes(tmp_path / "x.json"))
    assert made.nodes == 10000
    assert len(made.builds) == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nodes").write_text("n1 x86-64-v3\nn2 zen4\n")
    assert main(["cache", "plan", "--nodes", str(tmp_path / "nodes")]) == 0
    assert "cache build DIR --march x86-64-v3,x86-64-v4" in capsys.readouterr().out
    assert main(["cache", "plan", "--nodes", str(tmp_path / "nodes"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["common"] == "x86-64-v3"
