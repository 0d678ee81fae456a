"""The job card: one job at a glance inside a cell, live while it runs, a picture of it afterwards.

Runs in the notebook's kernel. `static` draws a card as HTML, SVG and text, without ipywidgets; `panel` is the
live one, `card` keeps both up to date, `clicks` brings the buttons' clicks through while a cell blocks the kernel.
"""
