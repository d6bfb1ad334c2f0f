"""The figures of a run, one function each. Matplotlib is used without its global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.files import replacing
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.shooting.record import Steps
from spacetime_tps.states import Region

FORWARD, BACKWARD = "#1f77b4", "#d62728"
_MAX_SHOWN_PATHS = 12
_MARKERS = "osD^v<>PX*ph8"
_ABREAST = 4


_LEFT, _RIGHT, _BOTTOM, _TOP = 0.95, 0.2, 0.6, 0.3
"""Room for the labels of a panel, in inches; Matplotlib's constrained layout takes as long to find it as to draw."""
_BAR = 0.75
"""Room for the labels of a colour bar on the right, in inches."""


def _figure(
    panels: int = 1, width: float = 6.4, height: float = 4.2, rows: int = 1, left: float = _LEFT, right: float = _RIGHT
) -> tuple[Figure, np.ndarray]:
    """Panels row by row, each as wide and high as given [inch] with its labels."""
    figure = Figure(figsize=(width * panels, height * rows), dpi=130)
    across, up = width * panels, height * rows
    room = {
        "left": left / across,
        "right": 1.0 - right / across,
        "bottom": _BOTTOM / up,
        "top": 1.0 - _TOP / up,
        "wspace": (left + right) / (width - left - right),
        "hspace": (_BOTTOM + _TOP) / (height - _BOTTOM - _TOP),
    }
    return figure, figure.subplots(rows, panels, squeeze=False, gridspec_kw=room).ravel()


class _PlainNumbers(LogFormatter):
    """Labels where Matplotlib puts them on a logarithmic axis, as 0.01 instead of a formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _logarithmic(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis whose numbers are plain text, not formulas."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(_PlainNumbers())
    axis.set_minor_formatter(_PlainNumbers())


def save(figure: Figure, path: Path, note: str | None) -> None:
    """Write a PNG atomically; ``note`` is printed across its foot.

    It is printed by its canvas, which draws it once: ``Figure.savefig`` draws it twice, first to find room for labels.

    Names of systems, states and variables stand in it as they are: a dollar sign begins no formula, and no LaTeX is
    started, whatever a ``matplotlibrc`` says.
    """
    if note:
        figure.text(0.5, 0.5, note, ha="center", va="center", rotation=25, fontsize=20, alpha=0.25, color="black")
    for text in _texts(figure):
        text.set_parse_math(False)
        text.set_usetex(False)
    with replacing(path) as temporary, matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


def _texts(artist: Artist) -> Iterator[Text]:
    """All texts of an artist that are there; labels of ticks that are made later copy the first of their axis.

    ``findobj`` would have every tick made for it, and once more when it is drawn.
    """
    if isinstance(artist, Text):
        yield artist
    elif isinstance(artist, Axis):
        yield from (artist.label, artist.offsetText)
        for tick in (*artist.majorTicks, *artist.minorTicks):
            yield from (tick.label1, tick.label2)
    else:
        for child in artist.get_children():
            yield from _texts(child)


def _scale(surface: FreeEnergySurface) -> float:
    return 180.0 / np.pi if surface.periodic.all() else 1.0


def surface_figure(
    surface: FreeEnergySurface,
    unit: str,
    channels: dict[str, np.ndarray],
    paths: PathEnsemble,
    columns: list[int],
    ends: np.ndarray,
    avoided: Region | None = None,
    waypoints: Sequence[Region] = (),
) -> Figure:
    """Free-energy surface with the channels' posterior means and the frames of the paths.

    Args:
        surface: over two variables.
        unit: of its energies.
        channels: by label, curves of variables, shape (n, 2); the first is the chosen one.
        paths: their variables ``columns`` are drawn.
        columns: which variables of the paths are the surface's.
        ends: the two end structures, shape (2, 2).
        avoided: the region that the geodesic was told to avoid, hatched.
        waypoints: the balls that it was told to pass through, dashed.
    """
    figure, (axes,) = _figure(width=7.0, height=5.6, right=_BAR)
    scale = _scale(surface)
    x, y = surface.axis(0) * scale, surface.axis(1) * scale
    top = 80.0 if unit == "kJ/mol" else 20.0
    filled = axes.contourf(x, y, np.minimum(surface.free_energy, top).T, levels=np.linspace(0, top, 33), cmap="viridis")
    figure.colorbar(filled, ax=axes, label=f"F [{unit}]")
    for region, style in [(avoided, "solid"), *((ball, "dashed") for ball in waypoints)]:
        if region is None:
            continue
        inside = region.contains(surface.points()).reshape(surface.free_energy.shape).astype(float)
        if region is avoided:
            axes.contourf(x, y, inside.T, levels=[0.5, 1.5], colors="none", hatches=["////"])
        axes.contour(x, y, inside.T, levels=[0.5], colors="white", linewidths=0.8, linestyles=style)
    shown = paths.variables[:, :, columns] * scale
    for forward, color in ((True, FORWARD), (False, BACKWARD)):
        points = shown[paths.forward == forward][: _MAX_SHOWN_PATHS // 2].reshape(-1, 2)
        axes.plot(*points.T, ".", ms=1.2, alpha=0.5, color=color, label="A to B" if forward else "B to A")
    for k, (label, curve) in enumerate(channels.items()):
        broken = _broken(curve * scale, bool(surface.periodic.all()))
        axes.plot(*broken.T, "-" if k == 0 else ":", color="white", lw=2.0 if k == 0 else 1.0,
                  label=f"geodesic {label}" if k == 0 else None)  # fmt: skip
    for point, name in zip(ends * scale, "AB", strict=True):
        axes.annotate(name, point, color="white", fontsize=14, weight="bold", ha="center", va="center")
    suffix = " [deg]" if surface.periodic.all() else ""
    axes.set(xlabel=surface.names[0] + suffix, ylabel=surface.names[1] + suffix, xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.legend(loc="upper right", fontsize=8, facecolor="0.6", markerscale=6)
    return figure


def _broken(curve: np.ndarray, periodic: bool) -> np.ndarray:
    """The curve with gaps where it passes the seam of the circle."""
    if not periodic:
        return curve
    jumps = np.flatnonzero(np.abs(np.diff(curve, axis=0)).max(axis=1) > 180.0) + 1
    return np.insert(curve, jumps, np.nan, axis=0)


def energy_figure(paths: PathEnsemble, unit: str, bound: float | None) -> Figure:
    """Free and potential energy along the paths."""
    figure, (left, right) = _figure(panels=2)
    for k in range(min(len(paths), _MAX_SHOWN_PATHS)):
        color = FORWARD if paths.forward[k] else BACKWARD
        left.plot(paths.curve_parameter[k], paths.free_energy[k], color=color, lw=0.6, alpha=0.6)
        right.plot(paths.curve_parameter[k], paths.potential_energy[k], color=color, lw=0.4, alpha=0.5)
    if bound is not None:
        left.axhline(bound, color="black", ls="--", lw=1, label="minimax bound")
        left.legend(fontsize=8)
    left.set(xlabel="curve parameter (A = 0, B = 1)", ylabel=f"highest reference F since the last frame [{unit}]")
    right.set(xlabel="curve parameter (A = 0, B = 1)", ylabel=f"potential energy without restraint [{unit}]")
    return figure


def spacetime_figure(
    levels: np.ndarray, variance: np.ndarray, blocks: list[str], bound: float | None, length: np.ndarray
) -> Figure:
    """Log-SNR and posterior variance of every feature block along the chosen geodesic.

    Args:
        levels, variance: shape (n, n_blocks).
        blocks: their names.
        bound: of the variance, where there is one.
        length: Fisher-Rao length travelled, shape (n,).
    """
    figure, (left, right) = _figure(panels=2)
    for k, name in enumerate(blocks):
        left.plot(length, levels[:, k], label=name)
        right.plot(length, variance[:, k], label=name)
    if bound is not None:
        right.axhline(bound, color="black", ls="--", lw=1, label="bound")
    left.set(xlabel="Fisher-Rao length", ylabel="log-SNR of each feature block")
    left.legend(fontsize=8)
    right.set(xlabel="Fisher-Rao length", ylabel="posterior variance", ylim=(0, None))
    right.legend(fontsize=8)
    return figure


def work_figure(forward: np.ndarray, backward: np.ndarray, delta_f: float) -> Figure:
    """Histograms of W (A to B) and -W (B to A) [kT]; they cross at the free-energy difference."""
    figure, (axes,) = _figure()
    both = np.concatenate([forward, -backward])
    bins = np.linspace(both.min() - 0.5, both.max() + 0.5, 20)
    axes.hist(forward, bins, alpha=0.6, color=FORWARD, label="W, A to B")
    axes.hist(-backward, bins, alpha=0.6, color=BACKWARD, label="-W, B to A")
    axes.axvline(delta_f, color="black", ls="--", lw=1, label="free-energy difference (BAR)")
    axes.set(xlabel="work of the restraint [kT]", ylabel="paths")
    axes.legend(fontsize=8)
    return figure


def windows_figure(windows: dict[str, np.ndarray], unit: str) -> Figure:
    """The model's posterior variance and free energy along the geodesic, and what restrained simulations measured.

    Args:
        windows: arrays of ``windows.npz``.
        unit: of the energies in them.
    """
    figure, (left, right) = _figure(2)
    share, measured = windows["curve_parameter"], windows["measured_variance"]
    left.plot(share, windows["predicted_variance"], color=FORWARD, label="model")
    left.errorbar(share, measured, windows["measured_variance_error"], fmt="ko", ms=4, label="restrained windows")
    left.set(xlabel="curve parameter", ylabel="posterior variance")
    _logarithmic(left)
    right.plot(share, windows["predicted_profile"], color=FORWARD, label="model, restrained")
    right.plot(share, windows["measured_profile"], "ko", ms=4, label="windows, restrained")
    smoothed = windows["smoothed_free_energy"]
    right.plot(windows["smoothed_parameter"], smoothed, color=BACKWARD, label="windows, smoothed density")
    right.set(xlabel="curve parameter", ylabel=f"free energy along the geodesic [{unit}]")
    for panel in (left, right):
        panel.legend(frameon=False)
    return figure


def overlap_figure(overlap: np.ndarray) -> Figure:
    """How far the ensembles of a pool share their samples, from state A over the windows to state B."""
    figure, (axes,) = _figure(right=_BAR)
    image = axes.imshow(overlap, cmap="Blues", vmin=0.0)
    figure.colorbar(image, ax=axes, label="share of a row's samples in a column")
    axes.set(xlabel="ensemble: A, windows, B", ylabel="ensemble: A, windows, B")
    return figure


def profiles_figure(profiles: np.ndarray, variables: CollectiveVariables, unit: str) -> Figure:
    """Free energy along every collective variable, by the windows and free simulations.

    Args:
        profiles: of ``windows.npz``, shape (n, 5), their bins in the variables' units.
        variables: that they are of.
        unit: of the energies.
    """
    count = len(variables.names)
    columns = min(count, _ABREAST)
    rows = -(-count // columns)
    figure, panels = _figure(columns, 3.6, 3.2, rows)
    FigureCanvasAgg(figure)
    for k, (name, shown, axes) in enumerate(zip(variables.names, variables.units, panels, strict=False)):
        _, lower, upper, height, error = profiles[profiles[:, 0] == k].T
        known = np.isfinite(error)
        axes.errorbar(0.5 * (lower + upper)[known], height[known], error[known], fmt="k.", ms=3, lw=0.8)
        axes.set(xlabel=f"{name} [{shown}]" if shown else name)
        if k < variables.n_angles:
            axes.set(xlim=(-180, 180))
        if k % columns == 0:
            axes.set(ylabel=f"free energy [{unit}]")
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure


def refinement_figure(refinement: dict[str, np.ndarray], unit: str) -> Figure:
    """Barrier and posterior variances, measured over predicted, from round to round.

    Args:
        refinement: arrays of ``refinement.npz``.
        unit: of the barrier.
    """
    figure, (left, right) = _figure(2)
    rounds = np.arange(1, int(refinement["rounds"]) + 1)
    left.errorbar(rounds, refinement["barrier"], refinement["barrier_error"], fmt="ko-", ms=4)
    left.set(xlabel="round", ylabel=f"barrier [{unit}]")
    low, high = refinement["variance_ratios"].T
    right.vlines(rounds, low, high, color=FORWARD, lw=3)
    right.axhline(1.0, color="black", lw=0.8)
    right.set(xlabel="round", ylabel="posterior variance, windows / model")
    _logarithmic(right)
    return figure


def loss_figure(loss: np.ndarray) -> Figure:
    """Training and held-out loss, columns (step, training, held-out)."""
    figure, (axes,) = _figure()
    axes.plot(loss[:, 0], loss[:, 1], label="training")
    axes.plot(loss[:, 0], loss[:, 2], label="held out, averaged weights")
    axes.set(xlabel="step", ylabel="relative squared error")
    _logarithmic(axes)
    axes.legend(fontsize=8)
    return figure


def shooting_figure(
    steps: Steps, burn_in: int, interval: float, time_unit: str, unit: str, bound: float | None
) -> Figure:
    """MaxFreeEnergy along the chains and its distribution, and the distribution of path lengths, behind the burn-in."""
    figure, (trace, heights, lengths) = _figure(panels=3, width=4.8)
    known = bool(np.isfinite(steps.max_free_energy).all())
    shown = steps.max_free_energy if known else steps.length * interval
    for row in shown[:_MAX_SHOWN_PATHS]:
        trace.plot(np.arange(1, len(row) + 1), row, lw=0.6, alpha=0.7)
    trace.axvline(burn_in, color="black", ls=":", lw=1, label="end of burn-in")
    trace.legend(fontsize=8)
    trace.set(xlabel="Monte Carlo step", ylabel=f"MaxFreeEnergy [{unit}]" if known else f"path length [{time_unit}]")
    if known:
        heights.hist(steps.max_free_energy[:, burn_in:].ravel(), 50, color=FORWARD)
        if bound is not None:
            heights.axvline(bound, color="black", ls="--", lw=1, label="minimax bound")
            heights.legend(fontsize=8)
    heights.set(xlabel=f"MaxFreeEnergy [{unit}]", ylabel="steps")
    frames = steps.length[:, burn_in:].ravel()
    each = max(1, -(-int(np.ptp(frames) + 1) // 50))
    edges = np.arange(frames.min(), frames.max() + each + 1, each) - 0.5
    lengths.hist(frames * interval, edges * interval, color=BACKWARD)
    lengths.set(xlabel=f"path length [{time_unit}]", ylabel="steps")
    return figure


def comparison_figure(
    values: dict[str, np.ndarray],
    truth: np.ndarray,
    methods: dict[str, dict[str, dict[str, float]]],
    unit: str,
    bound: float | None,
) -> Figure:
    """MaxFreeEnergy of every method beside the true ensemble's, and the distance to it against the cost.

    Args:
        values: MaxFreeEnergy of all arrived paths, by method.
        truth: of the true ensemble.
        methods: figures by method, see ``analysis.comparison.spread``.
        unit: of the energies.
        bound: the minimax bound.
    """
    figure, (left, right) = _figure(panels=2, width=7.2, height=4.8, left=1.8)
    shown = {name: v for name, v in values.items() if len(v) and np.isfinite(v).all()}
    left.boxplot([truth, *shown.values()], orientation="horizontal", whis=(5, 95), showfliers=False,
                 tick_labels=["true ensemble", *shown])  # fmt: skip
    left.invert_yaxis()
    if bound is not None:
        left.axvline(bound, color="black", ls="--", lw=1, label="minimax bound")
        left.legend(fontsize=8)
    left.set(xlabel=f"MaxFreeEnergy [{unit}], quartiles and 5 to 95 %")
    for k, (name, row) in enumerate(methods.items()):
        if "w1" in row and row["force_evaluations"]["mean"] > 0:
            x, y = row["force_evaluations"], row["w1"]
            scatter = y["std"] if np.isfinite(y["std"]) else None
            style = {"marker": _MARKERS[k % len(_MARKERS)], "color": f"C{k % 10}", "ms": 6, "ls": "none"}
            right.errorbar(x["mean"], y["mean"], scatter, label=name, **style)
            right.hlines(row["w1_noise_floor"]["mean"], x["mean"] / 1.15, x["mean"] * 1.15, color=f"C{k % 10}", lw=1)
    right.plot([], [], color="black", lw=1, label="noise floor")
    right.legend(fontsize=7, ncols=2)
    _logarithmic(right, "x")
    right.set(xlabel="force evaluations, sampling and training included",
              ylabel=f"W1 in MaxFreeEnergy to the true ensemble [{unit}]", ylim=(0, None))  # fmt: skip
    return figure


def committor_along_figure(along: np.ndarray, p_b: np.ndarray, error: np.ndarray) -> Figure:
    """Committors of frames along the curve."""
    figure, (axes,) = _figure()
    axes.errorbar(along, p_b, error, fmt="o", color=FORWARD, ms=4)
    axes.axhline(0.5, color="black", ls="--", lw=1)
    axes.set(xlabel="curve parameter (A = 0, B = 1)", ylabel="committor to B", ylim=(-0.05, 1.05))
    return figure


def committor_figure(p_b: np.ndarray) -> Figure:
    """Histogram of committors."""
    figure, (axes,) = _figure()
    axes.hist(p_b, np.linspace(0, 1, 11), color=FORWARD)
    axes.axvline(0.5, color="black", ls="--", lw=1)
    axes.set(xlabel="committor to B", ylabel="frames", xlim=(0, 1))
    return figure
