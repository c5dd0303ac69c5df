"""The chart library's JavaScript, which comes with vl-convert and goes into every page."""

import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import vl_convert

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def bundle(cache: Path) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets `vegaEmbed`; kept in `cache`, since it takes seconds."""
    kept = cache / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    made = vl_convert.javascript_bundle(_SNIPPET)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        half = kept.with_suffix(f".{os.getpid()}")
        half.write_text(made, encoding="utf-8")
        half.replace(kept)
    return made
