"""Cells of the generated blood smear, drawn one at a time on small patches.

A cell is a colour and an opacity per pixel. Outlines are circles bent by low harmonics, nuclei are chains of
balls that melt into each other, granules are cut from large tiles that are made once per process.

Pixel data meet only operations that IEEE 754 rounds exactly (+ - * / and square roots), in a fixed order, so
that a picture is the same on every machine; sines and powers are taken in float64 and rounded to float32
before they meet a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

SECTORS = 256  # directions in which an outline is known
TILE = 256  # edge of a texture tile [pixels]
WAVES = (2, 3, 4, 5, 6)  # harmonics of an outline; 1 would only move it


class Ball(NamedTuple):
    """A part of a nucleus: its centre, from the centre of the cell, and its radius [pixels]."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Coordinates of a square patch, from its middle pixel [pixels]."""

    x: np.ndarray  # float32 (1, P)
    y: np.ndarray  # float32 (P, 1)
    radius: np.ndarray  # float32 (P, P)
    sector: np.ndarray  # intp (P, P), 0 to SECTORS - 1


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A drawn cell on its patch: paint it with `opacity`, label it where `inside`."""

    colour: np.ndarray  # float32 (3, P, P) or (3, 1, 1), 0-255
    opacity: np.ndarray  # float32 (P, P), 0-1
    inside: np.ndarray  # bool (P, P)


@dataclass(frozen=True, slots=True, eq=False)
class Stain:
    """The colours of one picture, each float32 (3, 1, 1) RGB, 0-255."""

    paper: np.ndarray
    haemoglobin: np.ndarray
    eosin: np.ndarray  # granules of the eosinophil
    rose: np.ndarray  # cytoplasm of neutrophil and eosinophil
    nucleus: np.ndarray  # of every white cell
    dark: np.ndarray  # granules of the basophil, precipitate
    lilac: np.ndarray  # cytoplasm of the basophil, platelets
    sky: np.ndarray  # cytoplasm of the lymphocyte
    grey: np.ndarray  # cytoplasm of the monocyte
    ring: np.ndarray  # cytoplasm of the parasite
    chromatin: np.ndarray  # nucleus of the parasite


Painter = Callable[[Generator, Stain], Cell]


def draw_stain(random: Generator) -> Stain:
    """Draws how strongly, and in what hue, the two dyes of one smear took."""
    red, blue = (random.uniform(0.82, 1.22) * random.uniform(0.92, 1.08, 3) for _ in range(2))
    pale = random.uniform(0.3, 1.4) * random.uniform(0.88, 1.12, 3)

    def dyed(colour: Sequence[float], strength: np.ndarray) -> np.ndarray:
        density = (np.array(colour) / 255.0) ** strength  # float64, rounded before it meets a pixel
        return np.float32(np.round(255.0 * density, 3)).reshape(3, 1, 1)

    return Stain(
        paper=dyed((247, 240, 233), pale),
        haemoglobin=dyed((213, 150, 140), red),
        eosin=dyed((214, 116, 98), red),
        rose=dyed((236, 204, 212), red),
        nucleus=dyed((104, 62, 148), blue),
        dark=dyed((74, 42, 122), blue),
        lilac=dyed((196, 172, 214), blue),
        sky=dyed((166, 190, 226), blue),
        grey=dyed((180, 178, 208), blue),
        ring=dyed((100, 72, 158), blue),
        chromatin=dyed((128, 24, 104), blue),
    )


@lru_cache(maxsize=16)
def grid(size: int) -> Grid:
    """Coordinates of a patch of `size` pixels, read-only."""
    steps = np.arange(size, dtype=np.float64) - size // 2
    x, y = steps[None, :], steps[:, None]
    turns = np.arctan2(y, x) / (2 * pi)
    sector = np.rint(turns * SECTORS).astype(np.intp) % SECTORS
    arrays = [x.astype(np.float32), y.astype(np.float32), np.sqrt(x * x + y * y).astype(np.float32), sector]
    for array in arrays:
        array.flags.writeable = False
    return Grid(*arrays)


@lru_cache(maxsize=1)
def _waves() -> np.ndarray:
    """Cosines and sines of every harmonic, float32 (2 * len(WAVES), SECTORS), read-only."""
    angle = np.arange(SECTORS) * (2 * pi / SECTORS)
    waves = np.array([wave(k * angle) / (k - 1) for k in WAVES for wave in (np.cos, np.sin)])
    waves = waves.astype(np.float32)
    waves.flags.writeable = False
    return waves


def _blur(tile: np.ndarray, reach: int) -> np.ndarray:
    """Two passes of a box of `2 * reach + 1` pixels along both axes; the tile wraps round."""
    for axis in (0, 1, 0, 1):
        tile = sum(np.roll(tile, shift, axis) for shift in range(-reach, reach + 1)) / (2 * reach + 1)
    return tile


@lru_cache(maxsize=8)
def mottle(reach: int) -> np.ndarray:
    """A tile of smooth noise, float32 (TILE, TILE), mean 0, standard deviation 1, read-only."""
    random = Generator(PCG64(SeedSequence([1, reach])))
    tile = _blur(random.random((TILE, TILE)) - 0.5, reach)
    tile = np.float32(tile / round(float(np.std(tile)), 6))
    tile.flags.writeable = False
    return tile


@lru_cache(maxsize=8)
def granules(spacing: int, radius: float, full: float) -> np.ndarray:
    """A tile of round granules, float32 (TILE, TILE), 0 between them to 1 on top of the brightest, read-only.

    Args:
        spacing: Distance between granules, which lie on a shaken grid [pixels].
        radius: Mean radius of a granule [pixels].
        full: Share of the places that hold a granule, 0 to 1.
    """
    random = Generator(PCG64(SeedSequence([2, spacing])))
    tile = np.zeros((TILE, TILE), np.float32)
    reach = int(radius * 1.5) + 1
    steps = np.arange(-reach, reach + 1)
    for row in range(0, TILE, spacing):
        for column in range(0, TILE, spacing):
            shift_y, shift_x, size, height, place = random.random(5)
            if place > full:
                continue
            y, x = row + shift_y * spacing, column + shift_x * spacing
            rows, columns = steps + int(y), steps + int(x)
            distance = np.sqrt((rows - y)[:, None] ** 2 + (columns - x) ** 2)
            dot = np.clip((radius * (0.75 + 0.5 * size) - distance) * 0.8 + 0.35, 0, 1) * (0.6 + 0.4 * height)
            where = np.ix_(rows % TILE, columns % TILE)
            tile[where] = np.maximum(tile[where], dot.astype(np.float32))
    tile.flags.writeable = False
    return tile


def window(random: Generator, tile: np.ndarray, size: int) -> np.ndarray:
    """A random piece of a tile, mirrored at random; float32 (size, size), a view."""
    top, left, mirror = random.integers((TILE - size, TILE - size, 4)).tolist()
    piece = tile[top : top + size, left : left + size]
    return piece[:: 1 - 2 * (mirror & 1), :: 1 - (mirror & 2)]


def blend(under: np.ndarray, over: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Lays `over` on `under`; colours broadcast to (3, P, P), opacity (P, P)."""
    return under + (over - under) * opacity


def mix(random: Generator, colour: np.ndarray, other: np.ndarray, most: float) -> np.ndarray:
    """Moves a colour towards another by a random share up to `most`; float32 (3, 1, 1)."""
    return blend(colour, other, random.uniform(0, most))


def edge(distance: np.ndarray, sharpness: float = 0.7) -> np.ndarray:
    """Turns a distance to the outline (positive inside) [pixels] into a soft coverage, 0 to 1."""
    return np.minimum(np.maximum(distance * sharpness + 0.5, 0.0), 1.0)


def outline(random: Generator, size: int, radius: float, roughness: float) -> np.ndarray:
    """Reach of a bent circle in the direction of each pixel, float32 (size, size) [pixels]."""
    weights = random.uniform(-roughness, roughness, (2 * len(WAVES), 1)).astype(np.float32)
    profile = ((weights * _waves()).sum(axis=0) + 1) * radius
    return profile.take(grid(size).sector)


def melt(random: Generator, size: int, balls: Sequence[Ball], warp: float) -> np.ndarray:
    """Distance to the outline of balls that melt together, float32 (size, size), positive inside [pixels]."""
    patch = grid(size)
    field = np.zeros((size, size), np.float32)
    for ball in balls:
        x, y = patch.x - ball.x, patch.y - ball.y
        near = ball.radius * ball.radius / (x * x + (y * y + 0.5))
        near *= near
        near *= near
        field += near
    scale = max(ball.radius for ball in balls)
    root = np.sqrt(np.sqrt(np.sqrt(field)))
    return (root - 1) * scale + window(random, mottle(4), size) * warp


def chain(points: Sequence[tuple[float, float]], lobe: Sequence[float], strand: float) -> list[Ball]:
    """Lobes at the given places, each tied to the next by a strand of thin balls [pixels]."""
    balls = [Ball(x, y, radius) for (x, y), radius in zip(points, lobe, strict=True)]
    for (x, y), (to_x, to_y) in pairwise(points):
        parts = (0.3, 0.4, 0.5, 0.6, 0.7)
        balls += [Ball(x + (to_x - x) * part, y + (to_y - y) * part, strand) for part in parts]
    return balls


def arc(middle: float, spread: float, count: int, radius: float) -> list[tuple[float, float]]:
    """Points on an arc around the centre: `spread` radians about the direction `middle` [pixels]."""
    angles = [middle + spread * (step / (count - 1) - 0.5) for step in range(count)]
    return [(round(radius * cos(angle), 3), round(radius * sin(angle), 3)) for angle in angles]


def nuclear(random: Generator, stain: Stain, size: int, clump: int, contrast: float) -> np.ndarray:
    """Colour of a nucleus with clumped chromatin, float32 (3, size, size)."""
    shade = window(random, mottle(clump), size) * contrast + random.uniform(0.92, 1.1)
    return stain.nucleus * shade


def white_cell(body: np.ndarray, distance: np.ndarray, rim: float) -> Cell:
    """A white cell from its colours and the distance to its outline [pixels]; `rim` darkens the membrane."""
    depth = np.minimum(np.maximum(distance * 0.25, 0.0), 1.0)
    return Cell(body * (depth * rim + (1 - rim)), edge(distance), distance > 0)


def draw_eosinophil(random: Generator, stain: Stain) -> Cell:
    """Two lobes, and large orange granules that fill the rest."""
    size, radius, turn = 112, random.uniform(36, 43), random.uniform(0, 2 * pi)
    distance = outline(random, size, radius, 0.025) - grid(size).radius
    points = arc(turn, random.uniform(2.0, 2.9), 2, radius * 0.44)
    lobe = random.uniform(0.29, 0.36, 2) * radius
    nucleus = edge(melt(random, size, chain(points, lobe.tolist(), radius * 0.07), 1.2))
    grain = window(random, granules(5, 2.3, 1.0), size)
    body = blend(blend(stain.rose, stain.eosin, 0.4) * 0.96, stain.eosin, grain)
    body = blend(body, 255, np.maximum(grain - 0.8, 0.0) * 0.8)
    body = blend(body, nuclear(random, stain, size, 2, 0.08), nucleus * (1 - grain * 0.15))
    return white_cell(body, distance, 0.12)


def draw_basophil(random: Generator, stain: Stain) -> Cell:
    """A pale S-shaped nucleus under coarse dark granules."""
    size, radius, turn = 112, random.uniform(36, 43), random.uniform(0, 2 * pi)
    distance = outline(random, size, radius, 0.03) - grid(size).radius
    balls = [
        Ball(along * cos(turn) - across * sin(turn), along * sin(turn) + across * cos(turn), share * radius)
        for share, step in zip(random.uniform(0.2, 0.28, 7).tolist(), range(-3, 4), strict=True)
        for along, across in [(radius * 0.18 * step, radius * 0.3 * sin(step * pi / 3))]
    ]
    nucleus = edge(melt(random, size, balls, 1.5), 0.35)
    grain = window(random, granules(6, 3.0, 0.8), size)
    body = mix(random, stain.lilac, stain.rose, 0.5) * (window(random, mottle(3), size) * 0.03 + 1)
    body = blend(body, nuclear(random, stain, size, 3, 0.06), nucleus * 0.75)
    body = blend(body, stain.dark, np.minimum(grain * 1.2, 0.95))
    return white_cell(body, distance, 0.08)


def draw_neutrophil(random: Generator, stain: Stain) -> Cell:
    """Three to five lobes on thin strands in a pale, finely grained cytoplasm."""
    size, radius, turn = 112, random.uniform(36, 43), random.uniform(0, 2 * pi)
    distance = outline(random, size, radius, 0.03) - grid(size).radius
    count = int(random.integers(3, 6))
    points = arc(turn, random.uniform(1.15, 1.35) * (count - 1), count, radius * random.uniform(0.44, 0.52))
    lobe = random.uniform(0.9, 1.15, count) * radius * (0.35 - 0.025 * count)
    balls = chain(points, lobe.tolist(), radius * 0.06)
    shift = random.uniform(-0.12, 0.12, (count, 2)) * radius  # a second ball makes each lobe longish
    for (x, y, broad), (right, down) in zip(balls[:count], shift.tolist(), strict=True):
        balls.append(Ball(x + right, y + down, broad * 0.9))
    nucleus = edge(melt(random, size, balls, 1.2))
    grain = window(random, granules(4, 1.1, 0.8), size)
    body = mix(random, stain.rose, stain.grey, 0.4) * (window(random, mottle(4), size) * 0.02 + 1)
    body = blend(body, stain.lilac * 0.86, grain * 0.7)
    body = blend(body, nuclear(random, stain, size, 2, 0.09), nucleus)
    return white_cell(body, distance, 0.1)


def draw_lymphocyte(random: Generator, stain: Stain) -> Cell:
    """One large, round, dense nucleus in a thin rim of blue."""
    size, radius, turn = 80, random.uniform(27, 32.5), random.uniform(0, 2 * pi)
    distance = outline(random, size, radius, 0.03) - grid(size).radius
    share = random.uniform(0.76, 0.86)
    shift = radius * (1 - share) * 0.6
    nucleus = edge(melt(random, size, [Ball(shift * cos(turn), shift * sin(turn), radius * share)], 0.8))
    body = mix(random, stain.sky, stain.grey, 0.6) * (window(random, mottle(3), size) * 0.03 + 1)
    body = blend(body, nuclear(random, stain, size, 3, 0.1), nucleus)
    return white_cell(body, distance, 0.12)


def draw_monocyte(random: Generator, stain: Stain) -> Cell:
    """A large cell of uneven outline: a horseshoe or kidney in grey-blue, with vacuoles."""
    size, radius, turn = 128, random.uniform(42, 49), random.uniform(0, 2 * pi)
    distance = outline(random, size, radius, 0.06) - grid(size).radius
    points = arc(turn, random.uniform(2.6, 4.2), 7, radius * random.uniform(0.38, 0.44))
    lobe = random.uniform(0.25, 0.31) * radius * random.uniform(0.94, 1.06, 7)
    balls = [Ball(x, y, radius) for (x, y), radius in zip(points, lobe.tolist(), strict=True)]
    nucleus = edge(melt(random, size, balls, 1.6), 0.5)
    vacuoles = window(random, granules(13, 2.6, 0.45), size)
    body = mix(random, stain.grey, stain.rose, 0.5) * (window(random, mottle(2), size) * 0.035 + 1)
    body = blend(body, stain.paper, vacuoles * 0.75)
    body = blend(body, nuclear(random, stain, size, 4, 0.08) * 1.06, nucleus)
    return white_cell(body, distance, 0.1)


def _platelets(random: Generator, stain: Stain, size: int, balls: Sequence[Ball]) -> Cell:
    """Platelets melted into one: pale at the edge, grained in the middle."""
    distance = melt(random, size, balls, 0.9)
    grain = window(random, granules(4, 1.5, 0.85), size)
    core = edge(distance - 2.5, 0.3)
    body = blend(stain.lilac, stain.nucleus, core * (grain * 0.7 + 0.15))
    return Cell(body, edge(distance) * 0.92, distance > 0)


def draw_thrombocyte(random: Generator, stain: Stain) -> Cell:
    """One small platelet, round or oval."""
    radius, turn, stretch = random.uniform(6.5, 9), random.uniform(0, 2 * pi), random.uniform(0, 2.2)
    x, y = stretch * cos(turn), stretch * sin(turn)
    return _platelets(random, stain, 32, [Ball(x, y, radius * 0.86), Ball(-x, -y, radius * 0.86)])


def draw_platelet_clump(random: Generator, stain: Stain) -> Cell:
    """Six to twelve platelets that stick together."""
    balls = [Ball(0.0, 0.0, random.uniform(5.5, 7.5))]
    for _ in range(int(random.integers(5, 12))):
        start = balls[int(random.integers(len(balls)))]
        turn, radius = random.uniform(0, 2 * pi), random.uniform(4.5, 7)
        x, y = start.x + 1.6 * radius * cos(turn), start.y + 1.6 * radius * sin(turn)
        pull = min(1.0, 16.0 / max(abs(x), abs(y), 1.0))
        balls.append(Ball(x * pull, y * pull, radius))
    return _platelets(random, stain, 72, balls)


def draw_red_cell(random: Generator, stain: Stain) -> Cell:
    """A disc, paler in the middle where it is thin."""
    size, radius = 56, random.uniform(17.0, 21.0)
    reach = outline(random, size, radius, 0.035)
    distance = reach - grid(size).radius
    hollow = np.maximum(random.uniform(0.5, 0.72) - grid(size).radius / reach, 0.0) * 2.6
    hollow = np.minimum(hollow, 1.0)
    hollow = hollow * hollow * (3 - 2 * hollow)
    thick = random.uniform(0.82, 0.97) - hollow * random.uniform(0.15, 0.62)
    thick += window(random, mottle(3), size) * 0.015
    thick += edge(2.5 - np.abs(distance - 3), 0.3) * 0.06
    tint = random.uniform(0.97, 1.03) * random.uniform(0.985, 1.015, (3, 1, 1))
    colour = stain.haemoglobin * tint.astype(np.float32)
    return Cell(colour, edge(distance) * np.minimum(thick, 1.0), distance > 0)


def draw_infected_cell(random: Generator, stain: Stain) -> Cell:
    """A red cell with one ring of a malaria parasite, sometimes two."""
    cell = draw_red_cell(random, stain)
    size, turn = 56, random.uniform(0, 2 * pi)
    colour, opacity = cell.colour, cell.opacity
    for number in range(1 + int(random.random() < 0.22)):
        away = random.uniform(4.5, 9) if number else random.uniform(0, 8.5)
        angle = turn + number * random.uniform(2.2, 4.0)
        ring, dot = _ring(random, size, away * cos(angle), away * sin(angle))
        colour = blend(blend(colour, stain.ring, ring), stain.chromatin, dot)
        opacity = np.where(cell.inside, np.maximum(opacity, np.maximum(ring, dot)), opacity)
    return Cell(colour, opacity, cell.inside)


def _ring(random: Generator, size: int, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of a ring that is thicker on one side, and of its one or two dots; float32 (size, size)."""
    radius, turn = random.uniform(4.0, 6.2), random.uniform(0, 2 * pi)
    east, south = grid(size).x - x, grid(size).y - y
    away = np.sqrt(east * east * random.uniform(0.8, 1.25) + south * south)
    lean = east * (cos(turn) / radius) + south * (sin(turn) / radius)
    ring = edge(1.0 + lean * 0.45 - np.abs(away - radius), 0.8)
    dot = np.zeros_like(ring)
    for step in range(1 + int(random.random() < 0.3)):
        angle = turn + pi + step * random.uniform(0.9, 2.4)
        right, down = east - radius * cos(angle), south - radius * sin(angle)
        spot = random.uniform(1.9, 2.7) - np.sqrt(right * right + down * down)
        dot = np.maximum(dot, edge(spot, 0.8))
    return ring * random.uniform(0.6, 0.95), dot * random.uniform(0.75, 1.0)
