"""The words of `words.yaml`, by kind."""

from collections.abc import Mapping
from pathlib import Path

from shared.yaml_files import read_yaml

WORDS: Mapping[str, list[str]] = read_yaml(Path(__file__).with_name("words.yaml"))
