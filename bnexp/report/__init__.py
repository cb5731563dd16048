"""Here an experiment becomes one HTML page: its claims, figures and tables, and an explorer.

`page` puts the page together from `page.html`, a Jinja template, and writes it. `sentences` says in
words what the numbers of summary.json show, `tables` lays them out, `svg` makes a figure part of a
page, and `explorer` packs the percentiles for `explorer.js`, which lets a reader walk through the
units and the steps. The page is one file, and nothing on it is loaded from elsewhere. This room may
import figures, analysis and what stands below them, and nothing here needs torch. Begin with
`page`.
"""
