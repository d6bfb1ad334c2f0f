from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from spacetime_tps.config import RunConfig, dump, validate
from spacetime_tps.config.base import Model
from spacetime_tps.config.bounds import Within
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
        ("sampling.frozen_tmie=1 ps", "sampling.frozen_tmie", "frozen_time"),
        ("transitions.SHOTS=3", "transitions.SHOTS", "shots"),
        ("Paths.count=3", "Paths", "paths"),
        ("geodesic.point=3", "geodesic.point", "points"),
        ("windows.walkers=3", "windows.walkers", "free_walkers"),
        ("transitions.max_frames=3", "transitions.max_frames", "shooting.max_frames"),
        ("transitions.sampl_every=3", "transitions.sampl_every", "frame_every"),
        ("system.dynamics.hydrogen_mas=1 Da", "system.dynamics.hydrogen_mas", "system.hydrogen_mass"),
        ("friction=3", "friction", "system.dynamics.friction"),
        ("low_barrier.weight=3", "low_barrier", "geodesic.low_barrier"),
        ("states.a.anyof=3", "states.a.anyof", "any_of"),
    ],
)
def test_unknown_key_with_a_suggestion(override: str, key: str, meant: str) -> None:
    assert problem(override) == f"my.yaml: unknown key '{key}' (did you mean '{meant}'?)."


def test_a_key_that_is_gone_names_what_took_its_place() -> None:
    told = problem("comparison.umbrella.variable=phi")
    assert told.startswith("my.yaml: 'comparison': the method 'umbrella' has become 'transitions'")
    assert "leave out comparison.umbrella" in told
    content = settings()
    content["comparison"] = {**content.get("comparison", {}), "umbrella": None}  # as runs of version 0.1 have it
    assert validate(content, "my.yaml").comparison.examined_paths == 64


@pytest.mark.parametrize(
    ("section", "key", "value", "what"),
    [
        ("sampling", "build_time", ["x"] * 1200, "is no time"),
        ("sampling", "build_time", "1 " + "z " * 3000, "is no time"),
        ("denoiser", "kind", "y " * 3000, "kind should be one of"),
        ("paths", "count", ["x"] * 1200, "expected a whole number"),
    ],
)
def test_not_all_of_a_long_value_is_repeated(section: str, key: str, value: object, what: str) -> None:
    content = settings()
    content[section] = {**content.get(section, {}), key: value}
    with pytest.raises(UserError, match=what) as caught:
        validate(content, "my.yaml")
    assert len(str(caught.value)) < 400
    assert "..." in str(caught.value)


def test_unknown_key_like_no_other() -> None:
    assert problem("zzzz=1") == "my.yaml: unknown key 'zzzz'."
    assert problem("denoiser.layers=1") == "my.yaml: unknown key 'denoiser.layers'."
    for other in (
        "sampling.flatten.bias=[phi]",
        "system.kt=2",
        "atoms=3",
        "steps=3",
        "transitions.max_frame=3",
    ):  # of another kind
        assert "did you mean" not in problem(other)
    assert problem("system.list=2") == "my.yaml: unknown key 'system.list'."
    assert problem("system.seed=3").endswith("(did you mean 'seed' outside of all sections?).")
    ball = "states.a.any_of=[{ball: {phi: 1 deg, psi: 2 deg}, radus: 3 deg}]"
    assert problem(ball) == "my.yaml: unknown key 'states.a.any_of.0.radus' (did you mean 'radius'?)."
    contacts = "collective_variables.x={kind: native_contacts, pdb: c5.pdb, cutof: 3 nm}"
    assert problem(contacts).endswith("unknown key 'collective_variables.x.cutof' (did you mean 'cutoff'?).")


@pytest.mark.parametrize("system", ["alanine_dipeptide", "mueller_brown", "chignolin"])
def test_every_suggestion_is_a_key_that_its_section_has(system: str) -> None:
    resolved = validate(settings(system), "my.yaml").model_dump(mode="json")
    tried = [(section, key) for section, keys in resolved.items() if isinstance(keys, dict) for key in keys]
    for section, key in tried:
        if section in ("collective_variables", "states") or key == "kind":
            continue
        for misspelt in (key[:-1], key + "z", key.upper()):
            if misspelt in resolved[section]:
                continue
            content = settings(system)
            content[section] = {**content.get(section, {}), misspelt: 1}
            with pytest.raises(UserError) as caught:
                validate(content, "my.yaml")
            found = re.search(r"did you mean '([^']*)'", str(caught.value))
            if found is not None:
                place = found[1] if "." in found[1] else f"{section}.{found[1]}"
                assert place.split(".")[1] in resolved[place.split(".")[0]], f"{section}.{misspelt}: {caught.value}"
            assert found is not None or len(key) < 5, f"{section}.{misspelt}: no suggestion"


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
        ("paths.count=1", ["'paths.count'", "a whole number from 2 to 100,000", "not 1"]),
        ("paths.count=many", ["'paths.count'", "a whole number from 2 to 100,000", "'many'"]),
        ("system.temperature=-3 K", ["'system.temperature'", "expected 1 K to 10000 K", "'-3 K'"]),
        ("system.dynamics.time_step=2 ps", ["'system.dynamics.time_step'", "expected 0.01 fs to 100 fs", "'2 ps'"]),
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


ENDLESS = "1" + 400 * "0"
BEYOND = [
    ("alanine_dipeptide", "sampling.walkers=1.0e+30", "'sampling.walkers': expected a whole number from 1 to 1,024"),
    ("alanine_dipeptide", f"sampling.walkers={ENDLESS}", "'sampling.walkers'"),
    ("alanine_dipeptide", "denoiser.learning_rate=1.0e-300", "expected a number from 1e-08 to 10, not 1e-300"),
    ("alanine_dipeptide", f"denoiser.learning_rate={ENDLESS}", "expected a number from 1e-08 to 10"),
    ("alanine_dipeptide", "denoiser.learning_rate=5.0e-324", "expected a number from 1e-08 to 10"),
    ("alanine_dipeptide", "shooting.temperature_factor=1.0e+300", "a number from 1.01 to 100, not 1e+300"),
    ("alanine_dipeptide", "system.temperature=1e300 K", "expected 1 K to 10000 K, not '1e300 K'"),
    ("alanine_dipeptide", "system.dynamics.time_step=1e-300 fs", "expected 0.01 fs to 100 fs, not '1e-300 fs'"),
    ("alanine_dipeptide", f"seed={ENDLESS}", "from 0 to 9,000,000,000,000,000,000"),
    ("alanine_dipeptide", f"hardware.workers={ENDLESS}", "a whole number from 1 to 1,024 or 'auto'"),
    ("alanine_dipeptide", "sampling.sample_interval=100 ns", "longer than frozen_time"),
    ("alanine_dipeptide", f"geodesic.low_variance={ENDLESS}", "'geodesic.low_variance'"),
    ("mueller_brown", "geodesic.waypoints=[{ball: {x: 1.0e+300, y: 0}, radius: 1}]", "from -1e+09 to 1e+09"),
    ("mueller_brown", "geodesic.avoid=[{x: [-1.0e+300, 1]}]", "from -1e+09 to 1e+09"),
    ("mueller_brown", "states.a.point=[1.0e+300, 0]", "'states.a.point.0'"),
    ("mueller_brown", "system.box=[[-1.0e+300, 1], [0, 1]]", "'system.box.0.0'"),
    ("mueller_brown", "denoiser={options: {a: [1.0e+300]}}", "'denoiser.options': expected numbers from -1e+15"),
]  # fmt: skip


@pytest.mark.parametrize(("system", "override", "words"), BEYOND)
def test_numbers_that_cannot_be_meant(system: str, override: str, words: str) -> None:
    message = problem(override, system=system)
    assert words in message
    assert len(message) < 250


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("paths=3", "'paths': expected a section of settings, not 3."),
        ("states.a.any_of=[3]", "'states.a.any_of.0': expected a section of settings, not 3."),
        ("system.forcefield=a.xml", "'system.forcefield': expected a list, not 'a.xml'."),
        ("representation.torsions=[1]", "'representation.torsions.0': expected text, not 1."),
        ("paths={1: 2}", "'paths.1': expected keys that are text, not 1."),
        ("paths.schedule=foo", "'paths.schedule': expected 'fisher' or 'log_snr', not 'foo'."),
        ("sampling={walkers: 3}", "the key 'sampling.kind' is missing."),
        ("paths.count=null", "'paths.count': expected a whole number from 2 to 100,000, not null."),
        ("paths.count=2.5", "'paths.count': expected a whole number from 2 to 100,000, not 2.5."),
        ('states.a.pdb="a\\0b"', "'states.a.pdb': expected the name of a file, up to 1000 characters, not 'a\\x00b'."),
        ("states.a.any_of=[]", "'states.a.any_of': expected at least 1 of them, not 0."),
    ],
)
def test_no_word_of_python(override: str, expected: str) -> None:
    assert problem(override) == f"my.yaml: {expected}"


REPLICAS = "sampling={kind: replica_exchange, highest_temperature: 600 K, time: 100 ps}"
ADAPTIVE = "sampling={kind: adaptive, time: 100 ps}"
APART = [
    ("alanine_dipeptide", ["name==x"], "should not begin with ="),
    ("alanine_dipeptide", ["paths.count=true"], "my.yaml: paths.count is true or false, where a number"),
    ("alanine_dipeptide", ["states.a.any_of=[{phi: [true, 3 deg]}]"], "states.a.any_of.0.phi.0 is true or false"),
    ("alanine_dipeptide", ["denoiser.log_snr_range=[2, 2]"], "log_snr_range should be (low, high)"),
    ("alanine_dipeptide", ["windows.look_every=3", "windows.sample_every=20"], "look_every should divide"),
    ("alanine_dipeptide", ["windows.sample_every=100", "windows.steps=799"], "at least eight times"),
    ("alanine_dipeptide", ["windows.sample_every=100", "windows.free_steps=799"], "at least eight times"),
    ("alanine_dipeptide", ["sampling.hill_interval=60 ps"], "hill_interval should not be longer than exchange"),
    ("alanine_dipeptide", ["sampling.exchange_interval=9 ns"], "exchange_interval should not be longer than build"),
    ("alanine_dipeptide", [REPLICAS, "sampling.exchange_interval=2 ps"], "exchange_interval should not be longer than"),
    ("alanine_dipeptide", [REPLICAS, "sampling.sample_interval=200 ps"], "sample_interval should not be longer than"),
    ("alanine_dipeptide", [REPLICAS, "sampling.highest_temperature=300 K"], "highest_temperature should be above"),
    ("alanine_dipeptide", [ADAPTIVE, "sampling.sample_interval=200 ps"], "sample_interval should not be longer than"),
    ("alanine_dipeptide", ["sampling.bias=[phi, phi]"], "sampling.bias names a torsion twice"),
    ("alanine_dipeptide", ["sampling.bias=[phi, psi, phi, psi]"], "metadynamics takes at most three torsions"),
    ("alanine_dipeptide", ["representation.torsions=[phi, phi]"], "representation.torsions names a torsion twice"),
    ("alanine_dipeptide", ["representation={kind: pca, torsions: [phi, psi], components: 5}"], "at most 4, twice"),
    ("alanine_dipeptide", ["states.a.point=[1, 2]"], "give either 'pdb' (a molecule) or 'point'"),
    ("alanine_dipeptide", ["system.prmtop=a.prmtop"], "give one of forcefield, prmtop and openmm_system"),
    ("alanine_dipeptide", ["system.implicit_solvent=gbn2"], "implicit_solvent goes with prmtop"),
    (
        "alanine_dipeptide",
        ["system.forcefield=null", "system.openmm_system=a.xml", "system.hydrogen_mass=2 Da"],
        "has its own masses",
    ),
    ("alanine_dipeptide", ["shooting.move=one_way", "shooting.velocity_mixing=0.5"], "velocity_mixing needs the move"),
    ("alanine_dipeptide", ["shooting.steps=50", "shooting.burn_in=50"], "burn_in should be smaller than steps"),
    ("alanine_dipeptide", ["transitions.spacing_steps=4"], "spacing_steps should not be smaller than frame_every"),
    (
        "mueller_brown",
        ["transitions.max_steps=9", "transitions.frame_every=10"],
        "max_steps should not be smaller than frame_every",
    ),
    (
        "alanine_dipeptide",
        ["shooting.steps=50", "shooting.burn_in=45", "shooting.keep_every=6"],
        "keep_every should not be larger",
    ),
    ("mueller_brown", ["geodesic.geometry=linear", "geodesic.avoid=[{x: [0, 1]}]"], "linear does not hold them"),
    (
        "mueller_brown",
        ["geodesic.geometry=score", "geodesic.waypoints=[{ball: {x: 0, y: 0}, radius: 1}]"],
        "score does not hold them",
    ),
    ("mueller_brown", ["refine.rounds=1"], "refine.rounds is for molecules"),
    ("mueller_brown", ["sampling.steps=10", "sampling.sample_every=11"], "sample_every should not be larger than"),
    ("mueller_brown", ["system.box=[[-1, 1], [1, 1]]"], "box should hold (low, high) pairs"),
]  # fmt: skip


@pytest.mark.parametrize(("system", "overrides", "words"), APART)
def test_what_does_not_go_together(system: str, overrides: list[str], words: str) -> None:
    assert words in problem(*overrides, system=system)


@pytest.mark.parametrize(
    ("system", "overrides"),
    [
        ("alanine_dipeptide", ["windows.sample_every=100", "windows.look_every=50", "windows.steps=800"]),
        ("alanine_dipeptide", ["sampling.hill_interval=50 ps", "sampling.exchange_interval=50 ps"]),
        ("alanine_dipeptide", ["representation={kind: pca, torsions: [phi, psi], components: 4}"]),
        ("alanine_dipeptide", ["shooting.steps=50", "shooting.burn_in=45", "shooting.keep_every=5"]),
        ("mueller_brown", ["sampling.steps=10", "sampling.sample_every=10"]),
    ],
)
def test_what_just_goes_together(system: str, overrides: list[str]) -> None:
    pca = any("pca" in each for each in overrides)
    given = settings(system, *overrides, *(["geodesic.low_variance=0.2"] if pca else []))
    assert validate(given, "my.yaml").name == system


def leaves(annotation: Any, bounded: bool) -> Iterator[tuple[Any, bool]]:
    """The plain types within an annotation, and whether bounds stand on the way to each."""
    if get_origin(annotation) is Annotated:
        kind, *about = get_args(annotation)
        yield from leaves(kind, bounded or any(isinstance(each, Within) for each in about))
    elif get_origin(annotation) is Literal:
        return
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from leaves(part, bounded)
    else:
        yield annotation, bounded


def models(base: type[Model] = Model) -> Iterator[type[Model]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


@pytest.mark.parametrize("model", sorted(set(models()), key=lambda model: model.__name__))
def test_every_number_has_bounds(model: type[Model]) -> None:
    hints = get_type_hints(model, include_extras=True)
    free = [
        name
        for name in model.model_fields
        for kind, bounded in leaves(hints[name], False)
        if kind in (int, float) and not bounded
    ]
    assert not free
    numbers = [field for field in model.model_fields.values() if field.annotation in (int, float)]
    for field in numbers:
        (within,) = [about for about in field.metadata if isinstance(about, Within)]
        low, high = within.limits
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert field.is_required() or low <= field.get_default() <= high


def plain(value: Any) -> Any:
    """A default as YAML has it."""
    if isinstance(value, Model):
        return {"of": type(value).__name__}
    return list(value) if isinstance(value, tuple) else value


def test_defaults_are_those_of_record() -> None:
    """A default that changes, changes the results of whoever relies on it: say so in CHANGELOG.md and here."""
    found = {}
    for model in {each for each in models() if each.__module__.startswith("spacetime_tps.")}:
        fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
        if fields:
            defaults = {name: plain(field.get_default(call_default_factory=True)) for name, field in fields.items()}
            found[model.__name__] = defaults
    recorded = yaml.safe_load((Path(__file__).parent / "data/defaults.yaml").read_text(encoding="utf-8"))
    assert set(found) == set(recorded)
    for name, defaults in found.items():
        assert defaults == recorded[name], name


def test_the_walk_over_annotations_finds_what_has_no_bounds() -> None:
    loose = list[tuple[str | Annotated[float, Within(0, 1)], int | None]]
    assert [kind for kind, bounded in leaves(loose, False) if not bounded] == [str, int, type(None)]
    assert len(set(models())) > 25


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
        ("- 1\n- 2\n", ["it holds a list"]),
        ("", ["it holds nothing"]),
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
    with pytest.raises(UserError, match=r"nowhere\.yaml is not there"):
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
