"""Letters of pictures: topics and titles are Chinese, and matplotlib's own font has no such letters.

Here: which font a figure is written with. Not here: drawing.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Families with Chinese letters, as Linux, macOS and Windows install them; the first that is there is taken.
CHINESE: Final = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)


@contextmanager
def chinese_letters() -> Iterator[None]:
    """Figures saved inside use a font with Chinese letters, where the machine has one (Debian: fonts-noto-cjk).

    Without one each letter is drawn as a box. matplotlib's warning per letter is left out, as hundreds would hide the
    log; the tables beside the pictures hold the same words.
    """
    import matplotlib
    from matplotlib import font_manager

    known = set(font_manager.fontManager.get_font_names())
    families = [*(f for f in CHINESE if f in known), *matplotlib.rcParams["font.sans-serif"]]
    with matplotlib.rc_context({"font.sans-serif": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield
