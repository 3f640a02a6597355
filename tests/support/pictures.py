"""What is to be read in a picture, and that it can be; needs matplotlib."""

import itertools

from fastrnn import plotting


def drawn(fill):
    """Draw a picture, and return its figure and the box of each text that came to be drawn."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    texts, write = [], Text.draw

    def record(self, renderer, *args, **more):
        if self.get_visible() and self.get_text().strip():
            texts.append((self.get_text(), self.get_window_extent(renderer)))
        return write(self, renderer, *args, **more)

    with style.context(["default", plotting.STYLE]):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        fill(figure)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # the layout; texts are drawn elsewhere before it
        try:
            Text.draw = record
            canvas.draw()
        finally:
            Text.draw = write
    return figure, texts


def check_legible(figure, texts):
    """No text overlaps another, or is cut."""
    page = figure.bbox
    for text, box in texts:
        assert box.x0 >= 0 <= box.y0, text
        assert box.x1 <= page.width, text
        assert box.y1 <= page.height, text
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, (one, other)
