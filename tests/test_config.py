from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from spacetime_tps.config import RunConfig, dump, validate
from spacetime_tps.errors import UserError
from spacetime_tps.settings import apply_override, merge, read_yaml
from spacetime_tps.systems import find_system_file, load_config, systems_folder
from tests.oracles import is_one_sentence


def settings(system: str = "alanine_dipeptide", *overrides: str) -> dict[str, Any]:
    content = read_yaml(find_system_file(system))
    content.pop("presets", None)
    for assignment in overrides:
        apply_override(content, assignment)
    return content


def problem(*overrides: str, system: str = "alanine_dipeptide") -> str:
    with pytest.raises(UserError) as caught:
        validate(settings(system, *overrides), "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert is_one_sentence(message)
    return message


# --- validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "meant"),
    [
        ("paths.cuont=3", "paths.cuont", "count"),
        ("pahts.count=3", "pahts", "paths"),
        ("sampling.bias_facter=10", "sampling.bias_facter", "bias_factor"),
        ("system.dynamics.timestep=2 fs", "system.dynamics.timestep", "time_step"),
        ("geodesic.low_barrier.wieght=2", "geodesic.low_barrier.wieght", "weight"),
    ],
)
def test_unknown_key_with_a_suggestion(override: str, key: str, meant: str) -> None:
    assert problem(override) == f"my.yaml: unknown key '{key}' (did you mean '{meant}'?)."


def test_unknown_key_like_no_other() -> None:
    assert problem("zzzz=1") == "my.yaml: unknown key 'zzzz'."


def test_unknown_key_is_told_before_the_missing_one_it_stands_for() -> None:
    content = settings()
    content["sampling"]["build_tme"] = content["sampling"].pop("build_time")
    with pytest.raises(UserError, match=r"unknown key 'sampling.build_tme' \(did you mean 'build_time'\?\)"):
        validate(content, "my.yaml")


def test_missing_key() -> None:
    content = settings()
    del content["sampling"]["build_time"]
    with pytest.raises(UserError, match=r"^my.yaml: the key 'sampling.build_time' is missing\.$"):
        validate(content, "my.yaml")


@pytest.mark.parametrize(
    ("override", "key", "found", "units"),
    [
        ("system.temperature=300", "system.temperature", "300", "units K"),
        ("system.dynamics.time_step=2", "system.dynamics.time_step", "2 ", "ps, fs, ns, us"),
        ("system.dynamics.friction=1 ps", "system.dynamics.friction", "'1 ps'", "/ps, /fs, /ns"),
        ("sampling.hill_width=20", "sampling.hill_width", "20", "deg, rad"),
        ("sampling.build_time=3 days", "sampling.build_time", "'3 days'", "ps, fs, ns, us"),
    ],
)
def test_missing_or_wrong_unit(override: str, key: str, found: str, units: str) -> None:
    message = problem(override)
    assert f"'{key}': {found}" in message
    assert units in message


@pytest.mark.parametrize(
    ("override", "mentions"),
    [
        ("paths.count=1", ["'paths.count'", "greater than or equal to 2", "not 1"]),
        ("paths.count=many", ["'paths.count'", "integer", "'many'"]),
        ("system.temperature=-3 K", ["'system.temperature'", "greater than 0"]),
        ("system.dynamics.time_step=2 ps", ["'system.dynamics.time_step'", "less than or equal to 0.1"]),
        ("denoiser.learning_rate=.nan", ["'denoiser.learning_rate'"]),
        ("seed=-1", ["'seed'", "not -1"]),
        ("geodesic.low_variance=10", ["geodesic.low_variance", "10", "an angle such as"]),
        ("geodesic.low_variance=0 deg", ["geodesic.low_variance", "0.006 to 180 deg"]),
        ("sampling.kind=magic", ["'sampling'", "magic", "metadynamics", "langevin"]),
        ("system.kind=protein", ["'system'", "protein", "molecule"]),
        ("representation.torsions=[phi, omega]", ["representation.torsions", "'omega'"]),
        (
            "representation={kind: identity}",
            ["representation.kind", "'torsions', 'cartesian', 'tica' or 'pca' for a molecule"],
        ),
        ("states.a.pdb=null", ["states.a", "'pdb'", "'point'"]),
        ('name="a\\nb"', ["'name'", "in one line", r"'a\nb'"]),
        ("states.b.name=' B'", ["'states.b.name'", "no blank at its ends", "' B'"]),
        ("name=" + 101 * "x", ["'name'", "up to 100"]),
        ("states.a.name=''", ["'states.a.name'", "printable characters", "''"]),
        ("system.dynamics.integrator=verlet", ["'system.dynamics.integrator'", "langevin_middle", "'verlet'"]),
    ],
)
def test_unfit_value(override: str, mentions: list[str]) -> None:
    message = problem(override)
    assert all(text in message for text in mentions), message


def test_names_are_of_any_language() -> None:
    content = settings()
    content["name"], content["states"]["a"]["name"] = "می\u200cرود", "α helix 👩\u200d🔬"
    assert validate(content, "my.yaml").states.a.name == "α helix 👩\u200d🔬"


def test_a_collective_variable_has_a_printable_name() -> None:
    content = settings()
    content["collective_variables"]["chi\n2"] = content["collective_variables"]["phi"]
    with pytest.raises(UserError, match=r"'collective_variables.*in one line") as error:
        validate(content, "my.yaml")
    assert r"'chi\n2'" in str(error.value)
    assert "\n" not in str(error.value)


def test_toy_needs_points_and_langevin() -> None:
    assert "states.a needs a point" in problem(
        "states.a={name: a, pdb: a.pdb, any_of: [{x: [0, 1]}]}", system="mueller_brown"
    )
    content = settings("mueller_brown")
    content["sampling"] = settings()["sampling"]
    with pytest.raises(UserError, match="'langevin' for a potential"):
        validate(content, "my.yaml")


def test_metadynamics_takes_three_torsions_at_most() -> None:
    content = settings()
    content["collective_variables"] |= dict.fromkeys("abcd", content["collective_variables"]["phi"])
    content["representation"]["torsions"] = list("abc")
    validate(content, "my.yaml")
    content["representation"]["torsions"] = list("abcd")
    with pytest.raises(UserError, match="at most three"):
        validate(content, "my.yaml")


def test_a_bias_under_replica_exchange_is_of_collective_variables() -> None:
    def changed(bias: list[str]) -> dict[str, Any]:
        content = settings("alanine_tetrapeptide")
        content["sampling"]["flatten"] = {"bias": bias}
        return content

    assert validate(changed(["phi_3", "psi_3"]), "my.yaml").sampling.flatten.bias == ["phi_3", "psi_3"]
    for bias, words in (
        (["chi"], "'chi'"),
        (["phi_2"] * 2, "twice"),
        (["phi_2", "psi_2", "phi_3", "psi_3"], "at most"),
    ):
        with pytest.raises(UserError, match=words) as error:
            validate(changed(bias), "my.yaml")
        assert "sampling.flatten.bias" in str(error.value)
    none = settings("alanine_tetrapeptide")
    none["sampling"]["flatten"] = None
    assert validate(none, "my.yaml").sampling.flatten is None
    assert settings("alanine_tetrapeptide")["sampling"].get("flatten") is None
    assert validate(settings("alanine_tetrapeptide"), "my.yaml").sampling.flatten is not None


def test_a_periodic_box_has_no_implicit_solvent() -> None:
    content = settings()
    content["system"] |= {"forcefield": None, "prmtop": "m.prmtop", "implicit_solvent": "gbn2", "nonbonded": "pme"}
    with pytest.raises(UserError, match="no solvent for a periodic box"):
        validate(content, "my.yaml")


def test_values_arrive_in_internal_units() -> None:
    config = validate(settings("alanine_dipeptide", "system.dynamics.friction=2 /ns"), "my.yaml")
    assert config.system.temperature == 300.0
    assert config.system.dynamics.time_step == 0.002
    assert config.system.dynamics.friction == pytest.approx(0.002)
    assert config.sampling.build_time == 3000.0
    assert config.sampling.hill_width == pytest.approx(0.3490658503988659, rel=1e-15)


# --- YAML -------------------------------------------------------------------------------------------------------------


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "my.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("a: 1\nb: 2\na: 3\n", ["key 'a' stands twice", "line 3"]),
        ("s:\n  a: 1\n  a: 1\n", ["key 'a' stands twice", "line 3"]),
        ("a: !!python/object/apply:os.mkdir [pwned]\n", ["not safe YAML", "python/object", "line 1"]),
        ("a: !!python/name:os.system\n", ["not safe YAML", "python/name"]),
        ("a: [1, 2\n", ["not safe YAML", "line 2"]),
        ("- 1\n- 2\n", ["mapping", "list"]),
        ("", ["mapping"]),
        (b"a: \xff\xfe\n", ["UTF-8"]),
        ("name: {{ name }}\n", []),
        ("[1, 2]: 3\n", []),
        ("created: 2026-13-45\n", []),
        ("a: &a [*a]\n", ["alias", "line 1"]),
        ("a: &a [1, 2]\nb: *a\n", ["alias", "line 2"]),
    ],
    ids=[
        "duplicate key", "nested duplicate key", "unsafe call", "unsafe name", "not closed", "list", "empty",
        "not UTF-8", "unfilled template", "list as key", "impossible date", "in itself", "alias",
    ],
)  # fmt: skip
def test_bad_yaml_is_refused(
    tmp_path: Path, text: str | bytes, mentions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert all(part in message for part in [str(path), *mentions]), message
    assert is_one_sentence(message)
    assert not (tmp_path / "pwned").exists()


def test_missing_yaml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_good_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {x: 1, y: [1.5, é]}\nb: {x: 2}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": [1.5, "é"]}, "b": {"x": 2}}


# --- overrides --------------------------------------------------------------------------------------------------------


def test_overrides_set_and_create() -> None:
    content: dict[str, Any] = {"paths": {"count": 32, "frames": 5}}
    apply_override(content, "paths.count=8")
    apply_override(content, "geodesic.low_barrier.weight=2.5")
    apply_override(content, "system.temperature=310 K")
    apply_override(content, "representation.torsions=[phi, psi]")
    apply_override(content, "reference=null")
    apply_override(content, "name=a=b")
    assert content == {
        "paths": {"count": 8, "frames": 5},
        "geodesic": {"low_barrier": {"weight": 2.5}},
        "system": {"temperature": "310 K"},
        "representation": {"torsions": ["phi", "psi"]},
        "reference": None,
        "name": "a=b",
    }


@pytest.mark.parametrize(
    "assignment",
    ["paths.count", "=3", "  =3", "paths.count=[1", "name.first=x", "a=!!python/name:os.system", "a=2026-13-45"],
)
def test_bad_overrides_are_refused_and_quoted(assignment: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_override({"name": "x"}, assignment)
    assert repr(assignment) in str(caught.value)
    assert is_one_sentence(str(caught.value))


def test_overrides_reach_the_configuration_after_the_preset() -> None:
    file = find_system_file("alanine_dipeptide")
    config = load_config(file, preset="quick", seed=7, overrides=("paths.count=6", "paths.count=8", "name=mine"))
    assert (config.paths.count, config.seed, config.preset, config.name) == (8, 7, "quick", "mine")
    assert config.sampling.build_time == 300.0  # the preset
    assert config.sampling.bias_factor == 15.0  # what the preset leaves alone
    assert load_config(file).sampling.build_time == 3000.0


@pytest.mark.parametrize("name", sorted(file.parent.name for file in systems_folder().glob("*/system.yaml")))
def test_every_system_has_the_preset_quick(name: str) -> None:
    quick, standard = load_config(find_system_file(name), preset="quick"), load_config(find_system_file(name))
    assert quick.denoiser.queries < standard.denoiser.queries
    assert quick.paths.count < standard.paths.count
    assert quick.sampling != standard.sampling


def test_preset_quick_leaves_a_bias_out_that_is_left_out(tmp_path: Path) -> None:
    content = read_yaml(find_system_file("alanine_tetrapeptide"))
    content["sampling"]["flatten"] = None
    content["presets"] = {"quick": {"sampling": {"time": "50 ps"}}}
    sampling = load_config(write(tmp_path, yaml.safe_dump(content)), preset="quick").sampling
    assert (sampling.flatten, sampling.time, sampling.discard_time) == (None, 50.0, 10.0)


@pytest.mark.parametrize("presets", [None, [], {"quick": 1}, {"slow": {}}])
def test_presets_of_another_kind(tmp_path: Path, presets: object) -> None:
    path = write(tmp_path, yaml.safe_dump(settings() | {"presets": presets}))
    with pytest.raises(UserError, match="presets should hold the section quick and nothing else"):
        load_config(path)


def test_merge_lays_sections_over_sections() -> None:
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": [1, 2], "c": 3}
    merged = merge(base, {"a": {"y": {"w": 4}}, "b": [9], "c": {"d": 5}})
    assert merged == {"a": {"x": 1, "y": {"z": 2, "w": 4}}, "b": [9], "c": {"d": 5}}
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": [1, 2], "c": 3}


# --- writing ----------------------------------------------------------------------------------------------------------


def written_and_read(config: RunConfig, folder: Path) -> RunConfig:
    return validate(read_yaml(write(folder, dump(config))), "config.yaml")


@pytest.mark.parametrize("preset", [None, "quick"])
@pytest.mark.parametrize("system", ["alanine_dipeptide", "mueller_brown"])
def test_dump_is_read_back_equal(system: str, preset: Any, tmp_path: Path) -> None:
    """A run continued from its config.yaml is the run that was started."""
    config = load_config(find_system_file(system), preset=preset)
    assert written_and_read(config, tmp_path) == config


@pytest.mark.parametrize(
    "override",
    [
        "sampling.hill_width=0.3 rad",
        "geodesic.low_variance=0.3 rad",
        "system.temperature=300.1234567890123 K",
        "system.dynamics.time_step=1.7 fs",
        "geodesic.low_variance=null",
        "hardware.workers=3",
    ],
)
def test_dump_of_odd_values_is_read_back_equal(override: str, tmp_path: Path) -> None:
    config = load_config(find_system_file("alanine_dipeptide"), overrides=(override,))
    assert written_and_read(config, tmp_path) == config


def test_dump_shows_units_and_defaults() -> None:
    content = yaml.safe_load(dump(load_config(find_system_file("alanine_dipeptide"))))
    assert content["system"]["temperature"] == "300 K"
    assert content["system"]["dynamics"]["time_step"] == "0.002 ps"
    assert content["sampling"]["hill_width"] == "20 deg"
    assert content["geodesic"]["low_variance"] == "10 deg"
    assert content["denoiser"]["log_snr_range"] == [-1.0, 7.0]  # a default that the file leaves out


def test_dump_of_a_length_is_no_angle() -> None:
    content = yaml.safe_load(dump(load_config(find_system_file("mueller_brown"))))
    assert content["geodesic"]["low_variance"] == 0.12
