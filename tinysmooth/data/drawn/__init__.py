"""The drawn stand-in for Imagenette: ten classes drawn by code, at any size, from a seed.

These are drawings, not photographs, and nothing measured on them says anything about
photographs. They exist so that the library can be tried, tested and taught with no download.

- ``canvas``: shapes in an object's own coordinates, and the dice;
- ``scenes``: ground and sky, clutter, light and noise;
- ``living``, ``machines``, ``outdoors``: one function for each class;
- ``gallery``: which class is drawn by what and where it stands, and the data set made of it.
"""

from tinysmooth.data.drawn.gallery import draw_image, load_drawn

__all__ = ["draw_image", "load_drawn"]
