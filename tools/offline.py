"""A Sphinx extension: pages use the scripts in _vendor/ where tools/vendor.sh could fetch them.

Without it, MathJax and Jupyter's widget manager come from their public addresses, so equations and widgets would be missing
where the book is read without a network.
"""

from pathlib import Path


def use_vendored(app, config):
    assets = Path(app.confdir) / "_vendor" / "assets"
    if not assets.is_dir():
        return
    config.html_static_path = [*config.html_static_path, str(assets)]
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    config.nb_ipywidgets_js = {"widgets/require.js": {}, "widgets/embed-amd.js": {}}


def setup(app):
    app.connect("config-inited", use_vendored, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
