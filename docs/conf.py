"""Configuration of the documentation site (Sphinx)."""

from hypercover import __version__

project = "hypercover"
author = "the hypercover developers"
version = release = __version__
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build"]
html_theme = "pydata_sphinx_theme"
html_title = f"hypercover {version}"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_center": [],
}
html_sidebars = {"**": ["globaltoc.html"]}
html_show_sourcelink = False

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc shows the types of the docstrings
numpydoc_show_class_members = False
default_role = "code"
suppress_warnings = ["ref.ref"]  # docstrings that scikit-learn passes on

myst_heading_anchors = 4
nb_execution_mode = "auto"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
