"""A small Sphinx extension: what the built pages load.

Pages use the scripts in _vendor/ where tools/vendor.sh could fetch them. Without it, MathJax and Jupyter's widget manager come
from their public addresses, and equations and widgets are missing where the book is read without a network. Our own
scripts lie in book/static/, and what the live pages compute with in _live/.
"""

from pathlib import Path

# The widget manager typesets its labels through MathJax 2's Hub. The pages' MathJax 3 has none: without this, an error.
HUB = """document.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax && !MathJax.Hub) MathJax.Hub = {Queue: ([, , element]) => MathJax.typesetPromise?.([element])};
})"""


def drop_second_search(app, config):
    # The book theme leaves this list empty, and newer versions of the theme beneath it take that for their default: a second
    # search field.
    config.html_theme_options["navbar_persistent"] = []


def use_vendored(app, config):
    assets = Path(app.confdir) / "_vendor" / "assets"
    if not assets.is_dir():
        return
    config.html_static_path = [*config.html_static_path, str(assets)]
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    config.nb_ipywidgets_js = {"widgets/require.js": {}, "widgets/paths.js": {}, "widgets/embed-amd.js": {}}


def add_live(app, config):
    # The live pages' scripts, and the networks and faces that tools/live.py makes for them: both become _static/live/.
    folders = [Path(app.confdir) / "book" / "static", Path(app.confdir) / "_live"]
    config.html_static_path = [*config.html_static_path, *(str(folder) for folder in folders if folder.is_dir())]


def name_what_is_folded(app, page, template, context, doctree):
    # Every folded cell is called "Toggle hidden content", whatever it says: what it says is the better name. And a corner of
    # a table where nothing stands is no heading.
    context["body"] = (context.get("body") or "").replace(' aria-label="Toggle hidden content"', "")
    context["body"] = context["body"].replace('<th class="head"><p></p></th>', "<td></td>")


def leave_out_thebe(app, page, template, context, doctree):
    # Jupyter Book loads thebe's scripts although no page uses them, and declares its constants twice: a JavaScript error.
    context["script_files"] = [script for script in context["script_files"]
                               if "thebe" not in str(script.filename) + script.attributes.get("body", "")]


def colab_for_notebooks(app, page, template, context, doctree):
    # A page of text with code cells (book/people.md) counts as a notebook, and Colab cannot open it.
    if page in app.env.all_docs and app.env.doc2path(page).endswith(".md"):
        context["header_buttons"] = [button for button in context["header_buttons"] if button.get("label") != "launch-buttons"]


def setup(app):
    app.add_js_file(None, body=HUB)
    app.connect("config-inited", drop_second_search, priority=400)
    app.connect("config-inited", use_vendored, priority=400)
    app.connect("config-inited", add_live, priority=400)
    app.add_css_file("book.css", priority=900)
    app.add_js_file("book.js")
    app.connect("html-page-context", name_what_is_folded)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("html-page-context", colab_for_notebooks, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
