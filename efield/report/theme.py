"""Colours that hold for every chart: readable in light and dark, told apart without colour vision."""

from html import escape

BLUE, ORANGE, GREEN, PURPLE, GREY = "#2a7fba", "#d9691c", "#149174", "#c063a0", "#8a8f98"
"""After Okabe and Ito, a little lighter or darker to be read on white and on black."""

RED = "#d0104c"
"""The target: no colour of either map is near it."""

FIELD_MAP, VALUE_MAP = "Viridis", "Cividis"

CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}


def label(text):
    """Text for a label of plotly, which reads a few tags of HTML there."""
    return escape(str(text), quote=False)


def base_layout(**more):
    """Layout of every chart; ink and grid follow the page's light or dark, see report.js."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 56, "r": 16, "t": 24, "b": 44},
        "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        **more,
    }
