"""Numbers as people read them; what is undefined reads n/a."""

from __future__ import annotations

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def word(count: int) -> str:
    """A small number as a word."""
    return _WORDS[count] if count < len(_WORDS) else f"{count:,}"


def decimals(value: float | None, digits: int = 3) -> str:
    """Three decimals, or n/a."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def rate(value: float | None) -> str:
    """A learning rate as 3.0e-3."""
    return "n/a" if value is None else f"{value:.1e}".replace("e-0", "e-").replace("e+00", "")


def amount(value: float | None) -> str:
    """A count as 5.09 M."""
    if value is None:
        return "n/a"
    scale = next(((size, unit) for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= size), None)
    return f"{value:.0f}" if scale is None else f"{value / scale[0]:.3g}{scale[1]}"


def duration(seconds: float | None) -> str:
    """Seconds as 0.4 s, 3 min 31 s or 2 h 5 min."""
    if seconds is None:
        return "n/a"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(mebibytes: float | None) -> str:
    """MiB as 812 MiB or 1.2 GiB."""
    if mebibytes is None:
        return "n/a"
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def size(count: float) -> str:
    """Bytes as 0.2 kB, 12.3 MB or 1.2 GB; thousands, as web servers and shops count."""
    power, unit = next(((power, unit) for power, unit in ((9, "GB"), (6, "MB")) if 10 * count >= 10**power), (3, "kB"))
    return f"{count / 10**power:.1f} {unit}"


def speed(images_s: float | None) -> str:
    """Throughput as 8.4/s or 1,230/s."""
    return "n/a" if images_s is None else f"{images_s:,.0f}/s" if images_s >= 100 else f"{images_s:.3g}/s"


ALL = (decimals, rate, amount, duration, memory, speed)
