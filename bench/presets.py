"""Augmentations by name: what may happen to a training pair, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalog import unknown

Range = tuple[float, float]

SYMMETRIES: dict[str, tuple[bool, bool, bool]] = {
    "none": (False, False, False),
    "mirror": (False, True, False),
    "flip": (True, False, False),
    "half_turn": (True, True, False),
    "transpose": (False, False, True),
    "left_turn": (True, False, True),
    "right_turn": (False, True, True),
    "antitranspose": (True, True, True),
}
"""The eight ways a square lies on itself: transposed first, then rows reversed, then columns reversed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetry:
    """One of some flips and quarter turns, each as likely; pixels move whole.

    Attributes:
        probability: That a picture is touched.
        kinds: Keys of `SYMMETRIES`; those that exchange height and width are left out where a picture is not square.
    """

    probability: float = 1.0
    kinds: tuple[str, ...] = tuple(SYMMETRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Turn, zoom, shear and shift about the middle of the picture.

    Attributes:
        probability: That a picture is touched.
        turn: Largest angle either way [degrees].
        zoom: Smallest and largest enlargement, drawn on a log scale; below 1 the picture shrinks.
        shear: Largest slant either way, sideways movement per height.
        shift: Largest shift either way, as share of the width or height.
    """

    probability: float = 1.0
    turn: float = 0.0
    zoom: Range = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Every point displaced by a smooth random field: noise on a coarse grid, joined by cubic B-splines.

    Attributes:
        probability: That a picture is touched.
        amount: Standard deviation of the displacement along either axis, as share of the shorter side.
        controls: Points of the coarse grid along either axis; more of them bend the picture more finely. The field is
            as smooth as noise blurred with a sigma of 0.58 / (controls - 3) of the side.
    """

    probability: float = 1.0
    amount: float = 0.0
    controls: int = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """Barrel or pincushion distortion of a disc around a centre.

    At the distance d < R of the centre a pixel shows what lay at d * sin(pi * d / 2R) ** amount.

    Attributes:
        probability: That a picture is touched.
        radius: R, as share of the shorter side.
        amount: Range of the exponent; above 0 the middle bulges (barrel), below it shrinks (pincushion).
        centres: Where the centre may lie, (x, y) as shares of width and height; anywhere when empty.
    """

    probability: float = 1.0
    radius: float = 0.3
    amount: Range = (0.0, 0.0)
    centres: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """A Gaussian blur of the image.

    Attributes:
        probability: That a picture is touched.
        sigma: Range of the standard deviation [pixels at training size].
    """

    probability: float = 1.0
    sigma: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpen:
    """An unsharp mask: the image moves away from its own blur.

    Attributes:
        probability: That a picture is touched.
        amount: Range of the share of the difference that is added.
        sigma: Standard deviation of the blur [pixels at training size].
    """

    probability: float = 1.0
    amount: Range = (0.0, 0.0)
    sigma: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """Brightness, contrast, saturation and hue of the image, each by its own factor or angle.

    Attributes:
        probability: That a picture is touched.
        brightness: Largest relative change.
        contrast: Largest relative change of the distance to the mean grey of the picture.
        saturation: Largest relative change of the distance to the grey of the pixel.
        hue: Largest turn of the colours about the axis of greys, either way [degrees].
    """

    probability: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


Operator = Symmetry | Affine | Elastic | Lens | Blur | Sharpen | Colour


@dataclass(frozen=True, slots=True)
class Augment:
    """What may happen to a training pair; whether and how much is drawn for every sample.

    Geometry comes first, in the order given, image and mask on one grid; then what touches the image only.

    Attributes:
        operators: Symmetries first, since they move whole pixels.
        exclusive: At most one operator per sample; probabilities are then shares, and sum to at most 1.
    """

    operators: tuple[Operator, ...] = ()
    exclusive: bool = False


_FIVE = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7))
_TURNS = ("left_turn", "half_turn", "right_turn")

PRESETS: dict[str, Augment] = {
    "none": Augment(),
    "light": Augment((Symmetry(),)),
    "standard": Augment((
        Symmetry(),
        Affine(probability=0.8, turn=30, zoom=(0.8, 1.25), shear=0.1, shift=0.05),
        Elastic(probability=0.3, amount=0.008),
        Lens(probability=0.2, radius=0.4, amount=(-0.3, 0.3)),
        Blur(probability=0.15, sigma=(0.3, 1.2)),
        Sharpen(probability=0.15, amount=(0.3, 1.0)),
        Colour(probability=0.8, brightness=0.15, contrast=0.2, saturation=0.2),
    )),
    "heavy": Augment((
        Symmetry(),
        Affine(probability=0.9, turn=180, zoom=(0.7, 1.6), shear=0.2, shift=0.1),
        Elastic(probability=0.6, amount=0.014),
        Lens(probability=0.4, radius=0.45, amount=(-0.5, 0.5)),
        Blur(probability=0.3, sigma=(0.5, 2.0)),
        Sharpen(probability=0.3, amount=(0.5, 2.0)),
        Colour(probability=0.9, brightness=0.25, contrast=0.35, saturation=0.4, hue=10),
    )),
    # What the projects before this one did to their pictures, each sample drawing what they wrote to disk as copies.
    # Mended: image and mask share one field, what comes from outside is ignored instead of painted, validation
    # pictures stay as they are, and copies of one photograph are never on both sides of a split.
    "seed0": Augment((Symmetry(probability=5 / 6, kinds=(*_TURNS, "mirror", "flip")),)),
    # Hue was drawn from the whole circle, in HSV there.
    "seed1": Augment((
        Symmetry(kinds=("none", "mirror", "flip", "half_turn")),
        Affine(turn=45),
        Colour(brightness=0.5, contrast=0.5, saturation=0.5, hue=180),
    )),
    # 18 copies: 1 as it is, 3 turns, 2 fine fields (sigma 8 and 10 of 512), 2 wide ones (sigma 40 of 512, at most 10
    # and 15 pixels), 5 barrels and 5 pincushions. There the barrels lay one upon the other; here a sample has one.
    "seed2": Augment((
        Symmetry(probability=3 / 18, kinds=_TURNS),
        Elastic(probability=1 / 18, amount=2.27 / 512, controls=40),
        Elastic(probability=1 / 18, amount=1.48 / 512, controls=33),
        Elastic(probability=1 / 18, amount=0.0055, controls=10),
        Elastic(probability=1 / 18, amount=0.0082, controls=10),
        Lens(probability=5 / 18, amount=(0.3, 0.3), centres=_FIVE),
        Lens(probability=5 / 18, amount=(-0.3, -0.3), centres=_FIVE),
    ), exclusive=True),
    # 20 copies: 1 as it is, 2 flips, 3 turns, 1 fine field, 2 wide ones, 1 shrunk, 5 barrels and 5 pincushions.
    "seed4": Augment((
        Symmetry(probability=5 / 20, kinds=(*_TURNS, "mirror", "flip")),
        Affine(probability=1 / 20, zoom=(0.8, 0.8)),
        Elastic(probability=1 / 20, amount=2.27 / 512, controls=40),
        Elastic(probability=1 / 20, amount=0.0055, controls=10),
        Elastic(probability=1 / 20, amount=0.0082, controls=10),
        Lens(probability=5 / 20, amount=(0.3, 0.3), centres=_FIVE),
        Lens(probability=5 / 20, amount=(-0.3, -0.3), centres=_FIVE),
    ), exclusive=True),
}  # fmt: skip


def preset(name: str) -> Augment:
    """The augmentation of that name.

    Raises:
        NameUnknown: If there is none.
    """
    if name not in PRESETS:
        raise unknown("augmentation", name, PRESETS, "docs/study.schema.json")
    return PRESETS[name]
