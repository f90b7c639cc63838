"""The report of a run: `page` lays it out, of `pictures` and `charts`; `run_folder` reads."""
