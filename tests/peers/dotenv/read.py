"""What the reader of .env files that most Python programs use makes of standard input, as JSON."""

import io
import json
import sys

from dotenv import dotenv_values

text = sys.stdin.buffer.read().decode()
json.dump(dotenv_values(stream=io.StringIO(text), interpolate=True), sys.stdout)
