"""The rules of a notebook that a program can check, each reported with the cell's number and first line."""

import ast

MAX_LINES = 15
MAX_IMPORTS = 18  # of the first code cell, which holds all imports
