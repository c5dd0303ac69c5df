#!/usr/local/bin/python -IS
"""Exit code 0 if this Ray node lives, as its own agent says; else one line says why. Imports no Ray."""

import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:52365/api/healthz"

try:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(URL, timeout=8) as answer:
        answer.read()
except urllib.error.HTTPError as fault:
    sys.exit(f"this Ray node is not well: {', '.join(fault.read().decode(errors='replace').split())}")
except OSError as fault:
    sys.exit(f"this Ray node does not answer at {URL}: {fault}")
