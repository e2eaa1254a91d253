"""Files of neuronavigation systems; `files` reads and writes them, `axes` holds their conventions."""
