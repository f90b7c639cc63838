"""How Sphinx builds these pages: `make docs`.

Every warning is an error. The pages load nothing from elsewhere (`extensions/offline.py`), and the
notebooks of `tutorials/` are run.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "extensions"))
# for the notebooks, which run in processes and folders of their own
paths = [str(HERE / "tutorials"), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm, without widgets

import microscopygan  # noqa: E402

project = "MicroscopyGAN"
author = copyright = "MicroscopyGAN contributors"
version = release = microscopygan.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "parameter_types",
    "offline",
]
exclude_patterns = ["static", "extensions"]
default_role = "py:obj"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # tables that others include begin with small headings

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell
nb_merge_streams = True
nb_output_stderr = "remove-warn"

autodoc_typehints = "none"  # parameter_types sets them beside each parameter
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "MicroscopyGAN"
html_sidebars = {page: [] for page in ("index", "install", "gallery")}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "logo": {"text": "MicroscopyGAN"},
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "footer_start": [],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "friendly",
}
