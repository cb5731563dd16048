"""A matplotlib figure as part of an HTML page: inline SVG whose colours follow the page."""

import re
from io import BytesIO

import matplotlib as mpl

from bnexp.figures.drawing import GREY, Picture, style

# What stands for a colour of the figure on the page, where it may differ in light and in dark.
INK, MUTED = "currentColor", "var(--muted)"


def inline_svg(picture: Picture, name: str) -> str:
    """The figure as an `<svg>` element.

    Its text stays text. Black becomes the page's ink, white nothing, grey and the colours of the
    variants those of the page's style sheet, `--series-0` to `--series-7`, in the order of the
    figures' own. Coordinates are rounded to a hundredth of a point.

    Args:
        picture: the figure; its caption is left to the page.
        name: what the identifiers begin with, so that two figures on a page share none.
    """
    buffer = BytesIO()
    with style():
        picture.figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
        cycle = map(mpl.colors.to_hex, mpl.rcParams["axes.prop_cycle"].by_key()["color"])
        grey = mpl.colors.to_hex(GREY)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>\s*", "", text, flags=re.DOTALL)  # it would apply to the page
    # As wide as the column allows, but no wider than twice the width it was drawn for. The style
    # sheet is told that width: on a phone, the figure is not made smaller than it.
    drawn = picture.figure.get_size_inches()[0]
    sized = rf'\1 style="--drawn: {96 * drawn:.0f}px; max-width: {2 * 72 * drawn:.0f}px"'
    text = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', sized, text, count=1)
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    # Within tags alone: what stands between them is text, such as an accuracy of 0.9636.
    text = re.sub(r"<[^>]*>", lambda tag: _rounded(tag.group()), text)
    text = text.replace("#000000", INK).replace(grey, MUTED).replace("'DejaVu Sans'", "inherit")
    for i, colour in enumerate(cycle):  # black has become ink
        text = text.replace(colour, f"var(--series-{i})")
    # Text without a colour of its own is black by default, and so would be invisible in the dark.
    return text.replace("<svg ", f'<svg fill="{INK}" aria-hidden="true" focusable="false" ', 1)


def _rounded(tag: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found.group()):.2f}", tag)
