"""Reflectance of parcels, 400 to 2500 nm in steps of 1 nm, from their state.

Vegetation is modelled by PROSPECT-D and SAIL (Féret et al. 2017; Verhoef 1984) in the
package ``prosail``, over soil and plant residue.  Soil, residue, water and built
surfaces are parametric curves.
"""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
from numpy.random import Generator

from hypercover.scene.simulation.land_cover import ParcelState
from hypercover.types import Floats

WAVELENGTHS = np.arange(400.0, 2501.0)
"""Wavelengths of all spectra here, nm."""
ENDMEMBERS = 4
"""Spectra mixed in a parcel."""
SUN = 27.0
"""Solar zenith angle in degrees: a June noon at 40° N."""


def _dip(centre: float, width: float) -> Floats:
    return np.exp(-0.5 * ((WAVELENGTHS - centre) / width) ** 2)


@cache
def _prosail() -> ModuleType:
    with warnings.catch_warnings():  # importing it raises deprecation warnings
        warnings.simplefilter("ignore")
        return importlib.import_module("prosail")


def light() -> Floats:
    """Return the irradiance at the ground, W m⁻² nm⁻¹, direct plus diffuse."""
    spectra = _prosail().spectral_lib.light
    return np.asarray(spectra.es + spectra.ed, dtype=float)


def soil(moisture: float, albedo: float) -> Floats:
    """Return the reflectance of soil, which darkens with moisture.

    Moisture follows R = Rsat + (Rdry - Rsat) exp(-c m) (Lobell and Asner 2002),
    with iron, hydroxyl and clay features at 480, 880, 1414 and 2205 nm.
    """
    rise = 1 - np.exp(-(WAVELENGTHS - 340.0) / 420.0)
    features = 1 - 0.10 * _dip(480, 45) - 0.06 * _dip(880, 90)
    features *= 1 - 0.06 * _dip(1414, 18) - 0.10 * _dip(2205, 28) - 0.12 * _dip(2500, 120)
    dry = 0.29 * albedo * rise * features
    wetness = 1 - 0.35 * _dip(1450, 70) - 0.55 * _dip(1940, 90) - 0.08 * _dip(1190, 50)
    wet = 0.42 * dry * wetness
    return np.asarray(wet + (dry - wet) * np.exp(-2.6 * moisture))


def residue(moisture: float, albedo: float) -> Floats:
    """Return plant residue, with cellulose and lignin at 1730, 2100 and 2300 nm.

    The feature at 2100 nm distinguishes residue from soil (Daughtry 2001).
    """
    rise = 0.10 + 0.38 / (1 + np.exp(-(WAVELENGTHS - 690.0) / 130.0))
    fall = 1 - 0.42 * np.clip((WAVELENGTHS - 1300.0) / 1200.0, 0, 1)
    features = 1 - 0.16 * _dip(2100, 45) - 0.08 * _dip(1730, 30) - 0.14 * _dip(2310, 50)
    wetness = 1 - moisture * (0.3 * _dip(1450, 60) + 0.45 * _dip(1940, 75))
    return np.asarray((0.45 + 0.35 * albedo) * rise * fall * features * wetness)


def ground(state: ParcelState) -> Floats:
    """Return soil partly covered by plant residue."""
    bare = soil(state.moisture, state.albedo)
    dead = residue(0.5 * state.moisture, 0.5 + 0.5 * state.albedo)
    return (1 - state.residue) * bare + state.residue * dead


Leaves = tuple[Floats, Floats]


def leaves(state: ParcelState) -> Leaves:
    """Return the reflectance and transmittance of the leaves, by PROSPECT-D."""
    _, reflectance, transmittance = _prosail().run_prospect(
        1.55,
        state.cab,
        0.22 * state.cab + 1.0,
        state.brown,
        state.cw,
        state.cm,
        ant=1.0,
        prospect_version="D",
    )
    return reflectance, transmittance


def stand(state: ParcelState, of: Leaves, below: Floats) -> Floats:
    """Return a canopy of leaves over a ground, by SAIL, viewed from above."""
    if state.lai < 0.02:
        return below
    seen = _prosail().run_sail(
        *of, state.lai, state.angle, 0.1, SUN, 3.0, 90.0, rsoil0=below
    )
    return np.asarray(seen, dtype=float)


def plants(state: ParcelState) -> Floats:
    """Return plants over the ground of the same state."""
    return stand(state, leaves(state), ground(state))


def canopy(state: ParcelState) -> Floats:
    """Return the four spectra mixed in a field: poor, vigorous, open, and on wet soil."""
    green, below = leaves(state), ground(state)
    damp = ground(replace(state, moisture=min(1.0, state.moisture + 0.35)))
    rich = leaves(replace(state, cab=1.12 * state.cab))
    return np.stack(
        [
            stand(replace(state, lai=0.78 * state.lai), green, below),
            stand(replace(state, lai=1.28 * state.lai), rich, below),
            stand(replace(state, lai=0.35 * state.lai), green, below),
            stand(state, green, damp),
        ]
    )


def woods(state: ParcelState) -> Floats:
    """Return the four spectra of woods: sparse, dense, shaded, and of other species."""
    green, below = leaves(state), ground(state)
    poor = stand(replace(state, lai=0.78 * state.lai), green, below)
    rich = stand(replace(state, lai=1.28 * state.lai), green, below)
    other = replace(state, cab=0.8 * state.cab, angle=state.angle + 10, lai=0.8 * state.lai)
    return np.stack([poor, rich, 0.3 * poor, plants(other)])


def _grey(level: float, slope: float) -> Floats:
    return level * (1 + slope * (WAVELENGTHS - 400.0) / 2100.0)


def _stone(level: float) -> Floats:
    rise = 1 - np.exp(-(WAVELENGTHS - 250.0) / 330.0)
    features = 1 - 0.10 * _dip(2335, 35) - 0.08 * _dip(1940, 45) - 0.04 * _dip(1430, 40)
    return np.asarray(level * rise * features)


def _paint(level: float, edge: float) -> Floats:
    rise = 0.3 + 0.7 / (1 + np.exp(-(WAVELENGTHS - edge) / 22.0))
    return np.asarray(level * rise * (1 - 0.2 * _dip(1720, 30) - 0.3 * _dip(2320, 60)))


def farm(state: ParcelState, rng: Generator) -> Floats:
    """Return the four spectra of a farmstead: roof, lawn, trees and drive."""
    lawn = replace(
        state, lai=rng.uniform(1.5, 3), cab=rng.uniform(30, 45), residue=0.2, angle=60.0
    )
    trees = replace(state, lai=rng.uniform(3, 5), cab=rng.uniform(38, 52), residue=0.6)
    roof = rng.choice(3)
    roofs: list[Callable[[], Floats]] = [
        lambda: _grey(rng.uniform(0.18, 0.34), rng.uniform(-0.2, 0.1)),
        lambda: _paint(rng.uniform(0.14, 0.28), 590.0),
        lambda: _grey(rng.uniform(0.06, 0.12), rng.uniform(0.2, 0.9)),
    ]
    drive = _stone(rng.uniform(0.16, 0.28))
    return np.stack([roofs[roof](), plants(lawn), plants(trees), drive])


def paved(rng: Generator, state: ParcelState) -> Floats:
    """Return the four spectra of paved ground: stone, asphalt, steel and weeds."""
    weeds = replace(state, lai=rng.uniform(0.6, 1.8), cab=36.0, residue=0.3)
    return np.stack(
        [
            _stone(rng.uniform(0.22, 0.38)),
            _grey(rng.uniform(0.07, 0.14), rng.uniform(0.3, 1.0)),
            _grey(rng.uniform(0.2, 0.42), rng.uniform(-0.3, 0.0)),
            plants(weeds),
        ]
    )


def road(rng: Generator, stone: float) -> Floats:
    """Return the four spectra of a road: its bed and its verges, much alike."""
    bed = stone * _stone(0.4) + (1 - stone) * _grey(0.10, 0.6)
    verge = ParcelState(1.4, 32.0, 0.012, 0.006, 0.2, 60.0, 0.3, 0.3, 1.0)
    grass = plants(verge)
    return np.stack([part * bed + (1 - part) * grass for part in rng.uniform(0.5, 0.9, 4)])


def water(rng: Generator) -> Floats:
    """Return the four spectra of water: clear to turbid, dark beyond 750 nm."""
    decay = np.exp(-np.clip(WAVELENGTHS - 580.0, 0, None) / 70.0)
    rise = 0.45 + 0.55 * np.clip((WAVELENGTHS - 400.0) / 170.0, 0, 1)
    silt = np.sort(rng.uniform(0.04, 0.12, ENDMEMBERS))
    return np.stack([0.012 + level * rise * decay for level in silt])
