"""A long answer is read once, whatever is in it: what begins again at every place would stop the whole gateway for hours."""

import subprocess
import sys

import pytest

MB = 1 << 20
SECONDS = 60  # of CPU: reading a megabyte takes well under one, and hours where it begins again at every place
LONG = {
    "prose": '"a" * MB',
    "prose with an end of thought": '"a" * MB + "</think>" + "b" * MB',
    "brackets": '"{" * MB',
    "lists": '"[1," * MB',
    "blanks": '" " * MB',
    "blanks and tabs behind a fence": '"```" + " \\t" * MB',
    "fences": '"```\\n" * (MB // 4)',
    "quotes": '"{" + chr(34) + (chr(92) + chr(34)) * MB',
    "quotes and a last backslash": '"{" + chr(34) + (chr(92) + chr(34)) * MB + chr(92)',
    "angle brackets": '"<" * MB',
    "marks of thinking": '"<think>" * (MB // 8)',
    "line breaks": '"\\n" * MB',
}
READ = """
import resource; resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
from services.gateway.openai_wire.structured import Unfit, structured
from services.gateway.openai_wire.thinking import Thinking, without_thinking
MB = {mb}
text = {text}
try:
    structured({{"type": "object"}}, without_thinking(text))
except Unfit:
    pass
thinking = Thinking()
for at in range(0, len(text), 64):
    thinking.add(text[at : at + 64])
print("read")
"""


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_answer_is_read_in_a_moment(text: str) -> None:
    code = READ.format(seconds=SECONDS, mb=MB, text=text)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr[-500:]
